//! Prepares the pages and the browser library for embedding: minifies JavaScript and compresses every file.
//!
//! `src/web` becomes `$OUT_DIR/web`, with a `.br` and a `.gz` beside each file. A page's script is bundled with all that
//! it imports, since each file would cost a round trip. The library's readable source is added as `client/source/*.js`.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use oxc_allocator::Allocator;
use oxc_codegen::{Codegen, CodegenOptions};
use oxc_mangler::Mangler;
use oxc_parser::Parser;
use oxc_span::SourceType;

/// What belongs to the npm package alone.
const UNSERVED: [&str; 3] = ["package.json", "README.md", "commonjs.mjs"];

/// The scripts of the pages.
const PAGES: [&str; 2] = ["src/web/demo/demo.js", "src/web/admin/admin.js"];

/// Folders that are made, not written.
const MADE: [&str; 1] = ["cjs"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/web");
    let target = PathBuf::from(std::env::var("OUT_DIR")?).join("web");
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    prepare(Path::new("src/web"), &target)
}

fn prepare(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or("a file name is not UTF-8")?;
        if path.is_dir() {
            if !MADE.contains(&name) {
                prepare(&path, &to.join(name))?;
            }
            continue;
        }
        if UNSERVED.contains(&name) {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        if !name.ends_with(".js") {
            write(&to.join(name), text.as_bytes())?;
            continue;
        }
        let is_library = from.ends_with("client");
        if is_library {
            let source = to.join("source");
            fs::create_dir_all(&source)?;
            write(&source.join(name), text.as_bytes())?;
        }
        let text = if PAGES.iter().any(|page| Path::new(page) == path) {
            Bundle::of(&path)?
        } else {
            text
        };
        let note = if is_library {
            format!("// Readable: source/{name}\n")
        } else {
            String::new()
        };
        let minified = minify(&text).map_err(|why| format!("{}: {why}", path.display()))?;
        write(&to.join(name), format!("{note}{minified}\n").as_bytes())?;
    }
    Ok(())
}

/// Drops comments and spaces, and shortens local and private names. Nothing is computed or moved.
fn minify(text: &str) -> Result<String, String> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::mjs()).parse();
    if let Some(why) = parsed.diagnostics.first() {
        return Err(why.to_string());
    }
    let names = Mangler::new().build(&parsed.program);
    let code = Codegen::new()
        .with_options(CodegenOptions::minify())
        .with_scoping(Some(names.scoping))
        .with_private_member_mappings(Some(names.class_private_mappings));
    Ok(code.build(&parsed.program).code)
}

/// Modules put into one, each in a function of its own.
///
/// They keep to a plain style: an import is one line, `import { a, b as c } from './x.js';`, an export begins its line
/// and declares one name, and imports have no cycle. Absolute paths, such as the library's, stay imports.
#[derive(Default)]
struct Bundle {
    /// Those that are in; each is `$m` and its index.
    modules: Vec<PathBuf>,
    /// Those that import the one that is read now.
    above: Vec<PathBuf>,
    /// What stays an import; each is `$e` and its index.
    external: Vec<String>,
    text: String,
}

impl Bundle {
    fn of(page: &Path) -> Result<String, Box<dyn Error>> {
        let mut bundle = Self::default();
        bundle.add(page)?;
        let imports = bundle.external.iter().enumerate();
        let head: String = imports
            .map(|(index, path)| format!("import * as $e{index} from '{path}';\n"))
            .collect();
        Ok(head + &bundle.text)
    }

    /// Puts a module in, after those that it imports, and answers with its index.
    fn add(&mut self, path: &Path) -> Result<usize, Box<dyn Error>> {
        if let Some(index) = self.modules.iter().position(|known| known == path) {
            return Ok(index);
        }
        if self.above.iter().any(|known| known == path) {
            return Err(format!("{} imports itself", path.display()).into());
        }
        self.above.push(path.to_owned());
        let source =
            fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
        let (mut body, mut exported) = (String::new(), Vec::new());
        for line in source.lines() {
            if let Some(import) = line.strip_prefix("import ") {
                body += &self.import(path, import)?;
            } else if let Some(declaration) = line.strip_prefix("export ") {
                exported.push(
                    declared(declaration).ok_or_else(|| format!("{}: {line}", path.display()))?,
                );
                body += declaration;
            } else {
                body += line;
            }
            body.push('\n');
        }
        self.above.pop();
        let index = self.modules.len();
        self.modules.push(path.to_owned());
        self.text += &format!(
            "const $m{index} = (() => {{\n{body}return {{ {} }};\n}})();\n",
            exported.join(", ")
        );
        Ok(index)
    }

    /// What stands in the place of an import.
    fn import(&mut self, from: &Path, import: &str) -> Result<String, Box<dyn Error>> {
        let (names, target) = import.split_once(" from ").unwrap_or(("", import));
        let target = target.trim_end_matches(';').trim_matches('\'');
        let module = if target.starts_with('/') {
            let index = self
                .external
                .iter()
                .position(|known| known == target)
                .unwrap_or(self.external.len());
            if index == self.external.len() {
                self.external.push(target.to_owned());
            }
            format!("$e{index}")
        } else {
            format!("$m{}", self.add(&beside(from, target))?)
        };
        Ok(if names.is_empty() {
            String::new()
        } else {
            format!("const {} = {module};", names.replace(" as ", ": "))
        })
    }
}

/// A relative path, seen from a file.
fn beside(file: &Path, relative: &str) -> PathBuf {
    let mut path = file.parent().unwrap_or(file).to_owned();
    for part in Path::new(relative).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    path
}

/// The name that a declaration gives.
fn declared(declaration: &str) -> Option<&str> {
    let kinds = [
        "const ",
        "function ",
        "async function ",
        "async function* ",
        "class ",
    ];
    let rest = kinds
        .iter()
        .find_map(|kind| declaration.strip_prefix(kind))?;
    rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .next()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    fs::write(path, bytes)?;
    let beside = |ending: &str| PathBuf::from(format!("{}.{ending}", path.display()));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes)?;
    fs::write(beside("gz"), gzip.finish()?)?;
    let mut brotli = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: 11,
        lgwin: 22,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &bytes[..], &mut brotli, &parameters)?;
    fs::write(beside("br"), brotli)?;
    Ok(())
}
