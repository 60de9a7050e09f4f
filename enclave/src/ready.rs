//! The one line that says where the enclave can be reached, for whoever
//! started it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use bastide_attestation::ManifestDigest;
use serde::Serialize;

use crate::error::StartError;
use crate::json;

/// Where an enclave can be reached and what it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ready {
    schema: &'static str,
    /// `IP:PORT` or `vsock:PORT` of attested TLS.
    pub listen: String,
    /// `IP:PORT` of metrics and health.
    pub metrics: String,
    /// The model's name in the API.
    pub model: String,
    /// Digest of the model manifest, 64 hex digits.
    pub manifest: String,
    /// Whether evidence is simulated: then nothing is confidential.
    pub simulated: bool,
    /// Its stage, where it is part of a pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<u16>,
    /// `IP:PORT` where other stages link in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<String>,
}

impl Ready {
    pub(crate) fn new(
        listen: String,
        metrics: String,
        model: String,
        manifest: &ManifestDigest,
        simulated: bool,
    ) -> Self {
        Self {
            schema: "bastide.enclave-ready/v1",
            listen,
            metrics,
            model,
            manifest: manifest.to_string(),
            simulated,
            stage: None,
            links: None,
        }
    }

    /// The same of a stage, and where others link in to it.
    #[must_use]
    pub(crate) fn of_stage(self, stage: u16, links: Option<String>) -> Self {
        Self {
            stage: Some(stage),
            links,
            ..self
        }
    }

    /// The JSON line, with its line break.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut line = json::encode(self);
        line.push(b'\n');
        line
    }

    /// Prints the line to `stdout` and, whole or not at all, to a file.
    ///
    /// # Errors
    /// [`StartError::Ready`]; nobody would find the enclave then.
    pub fn announce(&self, stdout: &mut impl Write, file: Option<&Path>) -> Result<(), StartError> {
        let line = self.line();
        if let Some(file) = file {
            write_whole(file, &line).map_err(|source| StartError::Ready {
                to: format!("`{}`", file.display()),
                source,
            })?;
        }
        stdout
            .write_all(&line)
            .and_then(|()| stdout.flush())
            .map_err(|source| StartError::Ready {
                to: "stdout".to_owned(),
                source,
            })
    }
}

fn write_whole(file: &Path, line: &[u8]) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = file.with_file_name(name);
    fs::write(&part, line)?;
    fs::rename(&part, file)
}

#[cfg(test)]
mod tests {
    use super::Ready;
    use bastide_attestation::ManifestDigest;

    #[test]
    fn the_line_is_the_agreed_json() {
        let ready = Ready::new(
            "127.0.0.1:1".to_owned(),
            "127.0.0.1:2".to_owned(),
            "tiny".to_owned(),
            &ManifestDigest::new([0xab; 32]),
            true,
        );
        let expected = format!(
            "{{\"schema\":\"bastide.enclave-ready/v1\",\"listen\":\"127.0.0.1:1\",\"metrics\":\"127.0.0.1:2\",\
             \"model\":\"tiny\",\"manifest\":\"{}\",\"simulated\":true}}\n",
            "ab".repeat(32)
        );
        assert_eq!(ready.line(), expected.as_bytes());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ready.json");
        let mut stdout = Vec::new();
        ready.announce(&mut stdout, Some(&file)).unwrap();
        assert_eq!(stdout, expected.as_bytes());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
