//! What there is to know of the file output.

use super::fifo;
use crate::output::Output;
use crate::output::kind::{Kind, Need};
use crate::output::spec::{compress, of};

pub(crate) static FILE: Kind = Kind {
    keys: &["path", "compress", "level"],
    needs: |output| match output {
        // A regular file is open, and stays so.
        Output::File { path, .. } if fifo::is_reopened(path) => vec![Need::Reopen(path.clone())],
        _ => Vec::new(),
    },
    help: "  file,path=FILE[,compress=none|zlib][,level=1..12]
                        append messages of the LogDog protocol to a file, which
                        butler cat reads (default compress=none, level=4)
",
    ..Kind::new("file", |given| {
        let pairs = given.pairs()?;
        Ok(Output::File {
            path: pairs.required_path("path").map_err(of("file"))?,
            compress: compress(&pairs).map_err(of("file"))?,
        })
    })
};
