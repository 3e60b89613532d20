//! The rows and all that they are made of, for programs.

use serde_json::{Value, json};

use super::row::{Row, Summary};

/// All in one.
pub fn report(rows: &[Row], runs: &[Value], failures: &[String]) -> Value {
    json!({
        "machine": machine(),
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "failures": failures,
        "runs": runs,
    })
}

fn row(row: &Row) -> Value {
    json!({
        "scenario": row.scenario,
        "system": row.system,
        "what": row.what,
        "figure": summary(&row.figure),
        "beside": row.base.as_ref().map(|base| json!({
            "name": base.name,
            "figure": summary(&base.figure),
        })),
        "ratio": row.ratio(),
        "bound": row.bound.map(|bound| bound.limit),
        "aim": row.bound.and_then(|bound| bound.aim),
        "verdict": row.verdict().map(|it| it.as_str()),
    })
}

fn summary(summary: &Summary) -> Value {
    json!({"median": summary.median, "least": summary.min, "most": summary.max})
}

/// What it ran on.
fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, model)| model);
    json!({
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "cpu": model,
        "cores": cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
    })
}
