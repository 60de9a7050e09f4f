//! Writes the certificates of the simulation roots from their committed keys:
//! `cargo run -p bastide-attester --features simulator --example mint-simulation-roots -- FOLDER`.

use std::path::PathBuf;

use bastide_attester::simulator::nvidia::roots::{self as nvidia, Authority};
use bastide_attester::simulator::{Generation, roots};

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let folder = PathBuf::from(
        std::env::args_os()
            .nth(1)
            .ok_or("expected a folder to write to")?,
    );
    for generation in Generation::ALL {
        let minted = roots::mint(generation)?;
        std::fs::write(folder.join(format!("ark-{generation}.der")), minted.ark)?;
        std::fs::write(folder.join(format!("ask-{generation}.der")), minted.ask)?;
    }
    for authority in Authority::ALL {
        let file = folder.join(format!("{}.der", authority.file_stem()));
        std::fs::write(file, nvidia::mint(authority)?)?;
    }
    Ok(())
}
