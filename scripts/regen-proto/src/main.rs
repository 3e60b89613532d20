//! `regen-proto OUT_DIR`: compiles `proto/` and writes one file a package to
//! OUT_DIR.

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out_dir: PathBuf = std::env::args_os()
        .nth(1)
        .ok_or("usage: regen-proto OUT_DIR")?
        .into();
    let proto_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let files = [
        "ack/ack.proto",
        "logpb/log.proto",
        "logpb/butler.proto",
        "pubsub/pubsub.proto",
        "registration/registration.proto",
        "spool/spool.proto",
    ];
    let descriptors = protox::compile(files, [&proto_dir])?;
    prost_build::Config::new()
        // Tags in key order: the bytes of a descriptor are reproducible.
        .btree_map(["."])
        // Decoding shares the buffer instead of copying every value.
        .bytes(["."])
        // They have secrets, which must not be printed.
        .skip_debug([
            "logdog.RegisterPrefixResponse",
            "butler.spool.SpoolRun",
            "butler.spool.SpoolRegistration",
            "butler.spool.SpoolFact.Registered",
        ])
        .out_dir(&out_dir)
        .compile_fds(descriptors)?;
    for (package, module) in [
        ("butler.ack", "ack"),
        ("google.pubsub.v1", "pubsub"),
        ("logdog", "registration"),
        ("butler.spool", "spool"),
    ] {
        std::fs::rename(
            out_dir.join(format!("{package}.rs")),
            out_dir.join(format!("{module}.rs")),
        )?;
    }
    Ok(())
}
