//! Writes images that are laid out as edk2 lays OVMF out, for comparisons with
//! other tools and as seeds for fuzzing. No guest starts from them.
//!
//! `cargo run -p bastide-measure --example synthetic-ovmf -- DIR [PAGES]`

#[path = "../tests/support/ovmf.rs"]
#[expect(dead_code, reason = "the tests change more of an image than this does")]
mod ovmf;

use std::path::Path;
use std::process::ExitCode;

use ovmf::Image;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, pages) = match arguments.as_slice() {
        [folder] => (folder, Some(512)),
        [folder, pages] => (
            folder,
            pages.parse().ok().filter(|pages| (1..=4096).contains(pages)),
        ),
        _ => {
            eprintln!("expected a folder and, if wanted, a number of pages");
            return ExitCode::from(2);
        }
    };
    let Some(pages) = pages else {
        eprintln!("expected 1 to 4096 pages");
        return ExitCode::from(2);
    };
    for (name, mut image) in [
        ("amd-sev.fd", Image::amd_sev()),
        ("ovmf-x64.fd", Image::ovmf_x64()),
    ] {
        image.pages = pages;
        let path = Path::new(folder).join(name);
        if let Err(error) = std::fs::write(&path, image.build()) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        println!("{}", path.display());
    }
    ExitCode::SUCCESS
}
