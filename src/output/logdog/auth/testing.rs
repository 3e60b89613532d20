//! A key that is no secret.

/// The key file of a service account, made for tests.
pub fn key_file(token_uri: &str) -> String {
    serde_json::json!({
        "type": "service_account",
        "client_email": "butler@tests.example",
        "private_key_id": "key-1",
        "private_key": include_str!("../../../../tests/common/test-key.pem"),
        "token_uri": token_uri,
    })
    .to_string()
}
