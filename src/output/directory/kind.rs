//! What there is to know of the directory output.

use crate::output::Output;
use crate::output::kind::{Finds, Kind, Need};
use crate::output::spec::of;

pub(crate) static DIRECTORY: Kind = Kind {
    keys: &["path"],
    wants_lines: false,
    needs: |output| match output {
        Output::Directory { path } => vec![Need::Tree(path.clone())],
        _ => Vec::new(),
    },
    finds: |output| match output {
        Output::Directory { path } => Finds::Directory(path.clone()),
        _ => Finds::Nothing,
    },
    help: "  directory,path=DIR    a file for every stream: DIR/NAME has the very bytes
                        that were written (a file for each, if they are
                        datagrams), DIR/.meta.NAME describes them. One butler
                        at a time may write there
",
    ..Kind::new("directory", |given| {
        let pairs = given.pairs()?;
        let path = pairs.required_path("path").map_err(of("directory"))?;
        Ok(Output::Directory { path })
    })
};
