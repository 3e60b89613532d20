//! The sources of butler, for tests of what they must keep to.

use std::fs;
use std::path::Path;

/// Calls `each` for every `.rs` file below `src`, with its path in there.
pub(crate) fn each(mut each: impl FnMut(&str, &str)) {
    fn walk(root: &Path, directory: &Path, each: &mut dyn FnMut(&str, &str)) {
        for found in fs::read_dir(directory).unwrap() {
            let path = found.unwrap().path();
            if path.is_dir() {
                walk(root, &path, each);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let inside = path.strip_prefix(root).unwrap().to_str().unwrap();
                each(inside, &fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    walk(&root, &root, &mut each);
}
