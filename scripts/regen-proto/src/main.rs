//! `regen-proto OUT_DIR`: compiles `proto/` and writes `logpb.rs` to OUT_DIR.

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out_dir: PathBuf = std::env::args_os()
        .nth(1)
        .ok_or("usage: regen-proto OUT_DIR")?
        .into();
    let proto_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let descriptors = protox::compile(["logpb/log.proto", "logpb/butler.proto"], [&proto_dir])?;
    prost_build::Config::new()
        // Tags in key order: the bytes of a descriptor are reproducible.
        .btree_map(["."])
        // Decoding shares the buffer instead of copying every value.
        .bytes(["."])
        .out_dir(out_dir)
        .compile_fds(descriptors)?;
    Ok(())
}
