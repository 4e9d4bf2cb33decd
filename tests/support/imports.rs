//! The import graph of the program's files.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::Source;

/// Files, each with those that its code names.
pub type Imports = BTreeMap<String, BTreeSet<String>>;

/// Every path into this crate that a file's code names, as segments below the crate: `crate::a::{b, c::D}` is `a::b` and
/// `a::c::D`; `super::` is taken from the file's own place.
pub fn named_paths(source: &Source) -> Vec<Vec<String>> {
    let module = module_of(&source.path);
    let mut paths = Vec::new();
    for (start, _) in source
        .code
        .match_indices("crate::")
        .chain(source.code.match_indices("super::"))
    {
        let before = source.code[..start].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let text = &source.code[start..];
        let ups = text
            .split("::")
            .take_while(|segment| *segment == "super")
            .count();
        let base = match ups {
            0 => Vec::new(),
            ups => module[..module.len().saturating_sub(ups)].to_vec(),
        };
        let rest = &text["crate::".len() * ups.max(1)..];
        flatten(rest, &base, &mut paths);
    }
    paths
}

/// The segments of a file's module, below the crate.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// Reads one tree of a `use`, or a plain path; gives how many bytes it took.
fn flatten(text: &str, base: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut segments = base.to_vec();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        if rest.starts_with('{') {
            at += 1;
            while !text[at..].starts_with('}') && at < text.len() {
                let skipped = text[at..]
                    .find(|c: char| !c.is_whitespace() && c != ',')
                    .unwrap_or(0);
                at += skipped;
                if text[at..].starts_with('}') {
                    break;
                }
                let taken = flatten(&text[at..], &segments, paths);
                at += taken.max(1);
                // The name of an alias does not matter.
                at += text[at..].find([',', '}']).unwrap_or(0);
            }
            return at + 1;
        }
        let word = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        if word > 0 && &rest[..word] != "self" {
            segments.push(rest[..word].to_owned());
        }
        at += word;
        if !text[at..].starts_with("::") || word == 0 {
            paths.push(segments);
            return at;
        }
        at += 2;
    }
}

/// The graph of all files. A file that names its own folder's `mod.rs` extends that module, which
/// is not an import.
pub fn imports(sources: &[Source]) -> Imports {
    let files: BTreeMap<Vec<String>, &str> = sources
        .iter()
        .map(|source| (module_of(&source.path), source.path.as_str()))
        .collect();
    let file_of = |path: &[String]| {
        (1..=path.len())
            .rev()
            .find_map(|end| files.get(&path[..end]).copied())
    };
    let of = |source: &Source| {
        let named = named_paths(source);
        let found = named
            .iter()
            .filter_map(|path| file_of(path))
            .filter(|file| !is_own(&source.path, file));
        found.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    sources
        .iter()
        .map(|source| (source.path.clone(), of(source)))
        .collect()
}

fn is_own(path: &str, other: &str) -> bool {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    other == path || other.strip_suffix("/mod.rs") == Some(folder)
}

/// Import circles inside `folder`, one per file on a circle, the shortest first.
pub fn circles(imports: &Imports, folder: &str) -> Vec<Vec<String>> {
    let inside = |file: &&String| file.starts_with(folder);
    let mut found: Vec<Vec<String>> = imports
        .keys()
        .filter(inside)
        .filter_map(|start| way_back(imports, folder, start))
        .collect();
    found.sort_by_key(Vec::len);
    found
}

fn way_back(imports: &Imports, folder: &str, start: &str) -> Option<Vec<String>> {
    let mut ways = std::collections::VecDeque::from([vec![start.to_owned()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in imports
            .get(way.last()?)
            .into_iter()
            .flatten()
            .filter(|file| file.starts_with(folder))
        {
            if next == start {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                ways.push_back(way.iter().cloned().chain([next.clone()]).collect());
            }
        }
    }
    None
}
