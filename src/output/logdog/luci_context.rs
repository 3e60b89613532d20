//! `LUCI_CONTEXT`: what the environment of a LUCI task says of its accounts,
//! its realm and its deadline.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Deserialize as _;
use serde_json::Value;

use super::RegistrationError;
use super::secrets::HeldSecret;

/// The parts that a butler needs. Others, and what is `null`, are passed over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LuciContext {
    pub local_auth: Option<LocalAuth>,
    /// As it stands there: see [`realm`](Self::realm).
    realm: Option<Value>,
    /// When the task is killed.
    pub deadline: Option<SystemTime>,
}

/// A server on this machine that hands out tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAuth {
    pub rpc_port: u16,
    /// Base64, as it stands there: it is sent back as it is.
    pub secret: HeldSecret,
    pub default_account_id: Option<String>,
    pub accounts: Vec<String>,
}

/// `PROJECT:REALM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextRealm {
    pub project: String,
    pub name: String,
}

impl LuciContext {
    /// Reads the file that the variable names.
    pub fn read(path: &Path) -> Result<Self, RegistrationError> {
        let refused = |reason| RegistrationError::LuciContext {
            path: path.to_owned(),
            reason,
        };
        let bytes = std::fs::read(path).map_err(|error| refused(error.into()))?;
        Self::parse(&bytes).map_err(|what| refused(what.into()))
    }

    /// What is wrong is told without what stands there, which is secret.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let json: Value = serde_json::from_slice(bytes).map_err(|error| {
            format!(
                "it is no JSON (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        let section = |name: &str| json.get(name).filter(|section| !section.is_null());
        Ok(Self {
            local_auth: section("local_auth").map(local_auth).transpose()?,
            realm: section("realm")
                .and_then(|realm| realm.get("name"))
                .cloned(),
            deadline: section("deadline").and_then(deadline),
        })
    }

    /// What is wrong with the realm is only told to who asks for it.
    pub fn realm(&self) -> Result<Option<ContextRealm>, String> {
        match &self.realm {
            None | Some(Value::Null) => Ok(None),
            Some(name) => realm(name),
        }
    }
}

fn local_auth(section: &Value) -> Result<LocalAuth, String> {
    let rpc_port = section
        .get("rpc_port")
        .and_then(|port| u16::deserialize(port).ok())
        .filter(|port| *port > 0)
        .ok_or("local_auth.rpc_port is no port")?;
    let secret = section
        .get("secret")
        .and_then(Value::as_str)
        .ok_or("local_auth.secret is missing")?;
    let default_account_id = section
        .get("default_account_id")
        .and_then(Value::as_str)
        .filter(|id| !id.is_empty());
    let accounts = section.get("accounts").and_then(Value::as_array);
    let ids = accounts
        .into_iter()
        .flatten()
        .filter_map(|account| account.get("id")?.as_str());
    Ok(LocalAuth {
        rpc_port,
        secret: HeldSecret::new(secret),
        default_account_id: default_account_id.map(str::to_owned),
        accounts: ids.map(str::to_owned).collect(),
    })
}

fn realm(name: &Value) -> Result<Option<ContextRealm>, String> {
    let name = name.as_str().ok_or("realm.name is no string")?;
    if name.is_empty() {
        return Ok(None);
    }
    let (project, name) = name
        .split_once(':')
        .filter(|(project, name)| !project.is_empty() && !name.is_empty())
        .ok_or_else(|| format!("realm.name is {name:?}; wanted is PROJECT:REALM"))?;
    Ok(Some(ContextRealm {
        project: project.to_owned(),
        name: name.to_owned(),
    }))
}

/// After `soft_deadline` (seconds since 1970) the task is asked to end, and
/// has `grace_period` seconds for it. 0 means that there is none.
fn deadline(section: &Value) -> Option<SystemTime> {
    let seconds = |name: &str| section.get(name).and_then(Value::as_f64);
    let soft = seconds("soft_deadline").filter(|soft| *soft > 0.0)?;
    let grace = seconds("grace_period").unwrap_or(0.0).max(0.0);
    let since = Duration::try_from_secs_f64(soft + grace).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole() {
        let json = br#"{"local_auth":{"rpc_port":1234,"secret":"aGk=","default_account_id":"task",
            "accounts":[{"id":"system","email":"s@x"},{"id":"task","email":"-"}]},
            "realm":{"name":"chromium:ci"},
            "deadline":{"soft_deadline":1000.5,"grace_period":30},"swarming":{}}"#;
        let context = LuciContext::parse(json).unwrap();
        assert!(!format!("{context:?}").contains("aGk"));
        let realm = context.realm().unwrap().unwrap();
        let auth = context.local_auth.unwrap();
        assert_eq!((auth.rpc_port, auth.secret.expose()), (1234, &b"aGk="[..]));
        assert_eq!(auth.default_account_id.as_deref(), Some("task"));
        assert_eq!(auth.accounts, ["system", "task"]);
        assert_eq!((&*realm.project, &*realm.name), ("chromium", "ci"));
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(1_030_500);
        assert_eq!(context.deadline, Some(deadline));
    }

    #[test]
    fn parts_that_are_not_there() {
        for json in [
            "{}",
            r#"{"local_auth":null,"realm":null,"deadline":null}"#,
            r#"{"realm":{},"deadline":{"soft_deadline":0}}"#,
            r#"{"realm":{"name":""},"deadline":{"soft_deadline":-1e300}}"#,
            r#"{"deadline":{"soft_deadline":1e300}}"#,
        ] {
            let context = LuciContext::parse(json.as_bytes()).unwrap();
            assert_eq!(context.realm(), Ok(None), "{json}");
            assert_eq!(
                (context.local_auth, context.deadline),
                (None, None),
                "{json}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_secrets() {
        for (json, says) in [
            (r#"{"secret":"hunter2",}"#, "it is no JSON (line 1"),
            (
                r#"{"local_auth":{"secret":"hunter2"}}"#,
                "rpc_port is no port",
            ),
            (
                r#"{"local_auth":{"rpc_port":70000,"secret":"hunter2"}}"#,
                "rpc_port is no port",
            ),
            (r#"{"local_auth":{"rpc_port":1}}"#, "secret is missing"),
            (r#"{"realm":{"name":"ci"}}"#, "wanted is PROJECT:REALM"),
            (r#"{"realm":{"name":7}}"#, "realm.name is no string"),
        ] {
            let context = LuciContext::parse(json.as_bytes());
            let error = context.and_then(|context| context.realm()).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("hunter2"));
        }
    }
}
