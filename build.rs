//! Prepares the pages and the browser library for their embedding: JavaScript is minified, and everything is compressed.
//!
//! `src/web` becomes `$OUT_DIR/web`, with a `.br` and a `.gz` beside each file. The library's readable source is there too, as
//! `client/source/*.js`.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use oxc_allocator::Allocator;
use oxc_codegen::{Codegen, CodegenOptions};
use oxc_mangler::Mangler;
use oxc_parser::Parser;
use oxc_span::SourceType;

/// What belongs to the npm package alone.
const UNSERVED: [&str; 3] = ["package.json", "README.md", "commonjs.mjs"];

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
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("a file name is not UTF-8")?;
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
        let note = if is_library { format!("// Readable: source/{name}\n") } else { String::new() };
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

fn write(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    fs::write(path, bytes)?;
    let beside = |ending: &str| PathBuf::from(format!("{}.{ending}", path.display()));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes)?;
    fs::write(beside("gz"), gzip.finish()?)?;
    let mut brotli = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 22, ..Default::default() };
    brotli::BrotliCompress(&mut &bytes[..], &mut brotli, &parameters)?;
    fs::write(beside("br"), brotli)?;
    Ok(())
}
