//! The program's own source, for rules that a compiler does not check.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path below `src`, and its text without comments and unit tests.
pub struct Source {
    pub path: String,
    pub code: String,
}

/// Every source file but those of tests.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, "rs", &mut files);
    assert!(files.len() > 50, "the sources are found");
    let source = |file: PathBuf| {
        let path = file
            .strip_prefix(&root)
            .expect("below src")
            .to_string_lossy()
            .into_owned();
        Source {
            code: code_of(&fs::read_to_string(&file).expect("a text")),
            path,
        }
    };
    files
        .into_iter()
        .map(source)
        .filter(|source| !is_test_file(&source.path))
        .collect()
}

/// The README, the documents, and every source file of the program, from the repository's root.
pub fn documents(root: &Path) -> Vec<String> {
    let mut files = vec![root.join("README.md")];
    collect(&root.join("docs"), "md", &mut files);
    collect(&root.join("src"), "rs", &mut files);
    let relative = |file: PathBuf| {
        file.strip_prefix(root)
            .expect("below the root")
            .to_string_lossy()
            .into_owned()
    };
    files.into_iter().map(relative).collect()
}

fn collect(dir: &Path, kind: &str, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, kind, files);
        } else if path.extension().is_some_and(|extension| extension == kind) {
            files.push(path);
        }
    }
}

fn is_test_file(path: &str) -> bool {
    path.split('/')
        .any(|part| matches!(part, "tests" | "tests.rs"))
}

/// Without line comments, and without a module of tests at the end.
fn code_of(text: &str) -> String {
    let tests = text
        .lines()
        .position(|line| line.trim() == "#[cfg(test)]")
        .unwrap_or(usize::MAX);
    let tests_follow = text
        .lines()
        .skip(tests.saturating_add(1))
        .take(1)
        .any(|line| line.contains("mod tests {"));
    let end = if tests_follow { tests } else { usize::MAX };
    text.lines()
        .take(end)
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}
