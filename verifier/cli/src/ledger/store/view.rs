//! What is read of a ledger, all of it of one moment.

use super::*;

/// What the ledger holds at one moment. No other process writes meanwhile.
pub(crate) struct View {
    /// Keeps the file, and its lock, as long as it is read.
    pub(super) _database: Database,
    pub(super) entries: ReadOnlyTable<u64, &'static [u8]>,
    pub(super) evidence: ReadOnlyTable<&'static [u8], &'static [u8]>,
    pub(super) seen: ReadOnlyTable<&'static [u8], (u64, u64, bool)>,
    pub(super) verdicts: ReadOnlyTable<&'static [u8], &'static [u8]>,
    pub(super) statements: ReadOnlyTable<&'static [u8], &'static [u8]>,
    pub(super) plans: Option<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    pub(super) path: std::path::PathBuf,
}

impl View {
    /// All entries with their numbers, oldest first.
    ///
    /// # Errors
    /// [`Fault`] if one can't be read.
    pub(crate) fn entries(&self) -> Result<Vec<(u64, Entry)>, Fault> {
        let raw = guarded(&self.path, || {
            let mut all = Vec::new();
            for pair in self.entries.iter()? {
                let (number, bytes) = pair?;
                all.push((number.value(), bytes.value().to_vec()));
            }
            Ok(all)
        })?;
        raw.into_iter()
            .map(|(number, bytes)| {
                let entry = serde_json::from_slice(&bytes)
                    .map_err(|error| corrupt(&self.path, format!("entry {number}: {error}")))?;
                Ok((number, entry))
            })
            .collect()
    }

    /// The envelope under a key, hex.
    ///
    /// # Errors
    /// [`Fault`] if it can't be read.
    pub(crate) fn envelope(&self, key: &str) -> Result<Option<Envelope>, Fault> {
        let Ok(key) = hex::decode(key) else {
            return Ok(None);
        };
        guarded(&self.path, || {
            let bytes = self
                .evidence
                .get(key.as_slice())?
                .map(|bytes| bytes.value().to_vec());
            let seen = self.seen.get(key.as_slice())?.map(|seen| seen.value());
            Ok(bytes.zip(seen).map(|(bytes, (first, _, accepted))| Envelope {
                bytes,
                first,
                accepted,
            }))
        })
    }

    /// Key, hex, of the evidence for a statement, hex.
    ///
    /// # Errors
    /// [`Fault`] if it can't be read.
    pub(crate) fn evidence_of(&self, statement: &str) -> Result<Option<String>, Fault> {
        let Ok(statement) = hex::decode(statement) else {
            return Ok(None);
        };
        guarded(&self.path, || {
            let key = self.statements.get(statement.as_slice())?;
            Ok(key.map(|key| hex::encode(key.value())))
        })
    }

    /// The signed plan of a pipeline, by its digest.
    ///
    /// # Errors
    /// [`Fault`] if it can't be read.
    pub(crate) fn plan(&self, digest: &PlanDigest) -> Result<Option<Vec<u8>>, Fault> {
        guarded(&self.path, || match &self.plans {
            Some(plans) => Ok(plans
                .get(digest.as_bytes().as_slice())?
                .map(|plan| plan.value().to_vec())),
            None => Ok(None),
        })
    }

    /// Keys, hex, of all evidence.
    ///
    /// # Errors
    /// [`Fault`] if they can't be read.
    pub(crate) fn evidence_keys(&self) -> Result<Vec<String>, Fault> {
        guarded(&self.path, || {
            let mut keys = Vec::new();
            for pair in self.seen.iter()? {
                keys.push(hex::encode(pair?.0.value()));
            }
            Ok(keys)
        })
    }

    /// The verdict under a digest, hex, with the time that an entry gives it.
    ///
    /// # Errors
    /// [`Fault`] if it can't be read.
    pub(crate) fn verdict(&self, digest: &str, at: u64) -> Result<Option<Value>, Fault> {
        let Ok(digest) = hex::decode(digest) else {
            return Ok(None);
        };
        let bytes = guarded(&self.path, || {
            Ok(self
                .verdicts
                .get(digest.as_slice())?
                .map(|bytes| bytes.value().to_vec()))
        })?;
        let Some(bytes) = bytes else { return Ok(None) };
        let mut value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| corrupt(&self.path, format!("a verdict: {error}")))?;
        if let Value::Object(members) = &mut value {
            let at = bastide_attestation::UnixTime::from_secs(at).to_string();
            members.insert("at".to_owned(), at.into());
        }
        Ok(Some(value))
    }
}
