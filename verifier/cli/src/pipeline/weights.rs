//! The weights of a model directory, as far as a plan needs them: how many
//! bytes each range of layers has, and its digest as `docs/spec/pipeline.md`
//! defines it. Reads headers, and each tensor once, in pieces; nothing of the
//! values is looked at. An enclave computes the same digest for itself and
//! refuses a plan that says another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use bastide_attestation::pipeline::{LayerRange, MAX_LAYERS};
use ring::digest::{Context, SHA256};
use serde::Deserialize;

use crate::fault::Fault;
use crate::file;

const MAX_CONFIG_BYTES: usize = 1024 * 1024;
const MAX_HEADER_BYTES: u64 = 64 * 1024 * 1024;
const MAX_FILES: usize = 1_024;
const MAX_TENSORS: usize = 1_000_000;
const PIECE: usize = 1024 * 1024;
const LABEL: &[u8] = b"bastide-stage-weights-v1\0";
const EMBEDDING: &str = "model.embed_tokens.weight";
const NORM: &str = "model.norm.weight";
const OUTPUT: &str = "lm_head.weight";
/// What a layer computes with. Others, as tables of rotations, are in no range.
const OF_LAYER: [&str; 9] = [
    "input_layernorm.weight",
    "mlp.down_proj.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "post_attention_layernorm.weight",
    "self_attn.k_proj.weight",
    "self_attn.o_proj.weight",
    "self_attn.q_proj.weight",
    "self_attn.v_proj.weight",
];

#[derive(Debug, Deserialize)]
struct Config {
    num_hidden_layers: u16,
    #[serde(default)]
    tie_word_embeddings: bool,
}

#[derive(Debug, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Where a tensor is, and what it is.
#[derive(Debug, Clone)]
struct Tensor {
    file: PathBuf,
    start: u64,
    bytes: u64,
    dtype: String,
    shape: Vec<u64>,
}

/// A model's tensors, by name.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    tensors: BTreeMap<String, Tensor>,
    layers: u16,
    tied: bool,
    /// Bytes of all layers before each one, and of all.
    before: Vec<u64>,
}

fn wrong(path: &Path, what: impl std::fmt::Display) -> Fault {
    Fault::malformed("pipeline.model_files", format!("`{}`: {what}", path.display())).with_remedy(
        "name the directory that the enclaves are given: config.json and *.safetensors of one model",
    )
}

impl Weights {
    /// Reads the headers of a model directory.
    ///
    /// # Errors
    /// [`Fault`] if a file can't be read, or isn't what its format says.
    pub(crate) fn read(folder: &Path) -> Result<Self, Fault> {
        let path = folder.join("config.json");
        let config: Config = serde_json::from_slice(&file::read(&path, MAX_CONFIG_BYTES)?)
            .map_err(|error| wrong(&path, error))?;
        if !(1..=MAX_LAYERS).contains(&config.num_hidden_layers) {
            let got = config.num_hidden_layers;
            return Err(wrong(
                &path,
                format!("expected 1 to {MAX_LAYERS} layers, got {got}"),
            ));
        }
        let mut tensors = BTreeMap::new();
        for file in files(folder)? {
            for (name, tensor) in header(&file)? {
                if tensors.insert(name.clone(), tensor).is_some() {
                    return Err(wrong(&file, format!("tensor `{name}` is in two files")));
                }
                if tensors.len() > MAX_TENSORS {
                    return Err(wrong(folder, format!("more than {MAX_TENSORS} tensors")));
                }
            }
        }
        let mut weights = Self {
            before: Vec::new(),
            tensors,
            layers: config.num_hidden_layers,
            tied: config.tie_word_embeddings,
        };
        let mut needed = vec![EMBEDDING.to_owned(), NORM.to_owned()];
        if !weights.tied {
            needed.push(OUTPUT.to_owned());
        }
        for layer in 0..weights.layers {
            needed.extend(of_layer(layer));
        }
        if let Some(missing) = needed.iter().find(|name| !weights.tensors.contains_key(*name)) {
            return Err(wrong(folder, format!("there is no tensor `{missing}`")));
        }
        weights.before = (0..=weights.layers)
            .scan(0_u64, |sum, layer| {
                let before = *sum;
                *sum = sum.saturating_add(weights.sum(of_layer(layer)));
                Some(before)
            })
            .collect();
        Ok(weights)
    }

    fn sum(&self, names: impl Iterator<Item = String>) -> u64 {
        names
            .filter_map(|name| self.tensors.get(&name))
            .map(|tensor| tensor.bytes)
            .sum()
    }

    /// Layers of the model.
    pub(crate) const fn layers(&self) -> u16 {
        self.layers
    }

    /// Names of what the ends of the model add to a range that has them.
    fn ends(&self, first: u16, end: u16) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        if first == 0 {
            names.insert(EMBEDDING.to_owned());
        }
        if end == self.layers {
            names.insert(NORM.to_owned());
            names.insert(if self.tied { EMBEDDING } else { OUTPUT }.to_owned());
        }
        names
    }

    /// Bytes of the weights of layers `first` to one before `end`.
    pub(crate) fn bytes(&self, first: u16, end: u16) -> u64 {
        let before = |layer: u16| self.before.get(usize::from(layer)).copied().unwrap_or_default();
        let layers = before(end).saturating_sub(before(first));
        layers.saturating_add(self.sum(self.ends(first, end).into_iter()))
    }

    /// The digest of the weights of a range.
    ///
    /// # Errors
    /// [`Fault`] if a file can't be read any more.
    pub(crate) fn digest(&self, range: LayerRange) -> Result<[u8; 32], Fault> {
        let mut digest = Context::new(&SHA256);
        digest.update(LABEL);
        digest.update(&u32::from(range.first()).to_be_bytes());
        digest.update(&u32::from(range.end()).to_be_bytes());
        let mut names = self.ends(range.first(), range.end());
        names.extend((range.first()..range.end()).flat_map(of_layer));
        for name in names {
            // Every name of the model was there when the headers were read.
            let Some(tensor) = self.tensors.get(&name) else {
                continue;
            };
            for text in [&name, &tensor.dtype] {
                digest.update(&short(text.len()));
                digest.update(text.as_bytes());
            }
            digest.update(&short(tensor.shape.len()));
            for dimension in &tensor.shape {
                digest.update(&dimension.to_be_bytes());
            }
            digest.update(&tensor.bytes.to_be_bytes());
            digest.update(&tensor.content()?);
        }
        Ok(array(&digest))
    }
}

fn of_layer(layer: u16) -> impl Iterator<Item = String> {
    OF_LAYER
        .into_iter()
        .map(move |name| format!("model.layers.{layer}.{name}"))
}

impl Tensor {
    /// SHA-256 of its bytes.
    fn content(&self) -> Result<[u8; 32], Fault> {
        let unreadable = |error: std::io::Error| wrong(&self.file, error);
        let mut file = File::open(&self.file).map_err(unreadable)?;
        file.seek(SeekFrom::Start(self.start)).map_err(unreadable)?;
        let mut rest = file.take(self.bytes);
        let (mut digest, mut piece, mut read) = (Context::new(&SHA256), vec![0; PIECE], 0_u64);
        loop {
            let got = rest.read(&mut piece).map_err(unreadable)?;
            if got == 0 {
                break;
            }
            digest.update(&piece[..got]);
            read += u64::try_from(got).unwrap_or(u64::MAX);
        }
        if read != self.bytes {
            return Err(wrong(&self.file, "it was cut while it was read"));
        }
        Ok(array(&digest))
    }
}

/// Names and counts are of a header of at most 64 MiB.
fn short(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes()
}

fn array(digest: &Context) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut()
        .zip(digest.clone().finish().as_ref())
        .for_each(|(to, from)| *to = *from);
    out
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| wrong(folder, error))? {
        let path = entry.map_err(|error| wrong(folder, error))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "safetensors")
        {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() || files.len() > MAX_FILES {
        return Err(wrong(
            folder,
            format!(
                "expected 1 to {MAX_FILES} files *.safetensors, got {}",
                files.len()
            ),
        ));
    }
    Ok(files)
}

/// The tensors that a file's header names; all of them lie in the file.
fn header(path: &Path) -> Result<Vec<(String, Tensor)>, Fault> {
    let unreadable = |error: std::io::Error| wrong(path, error);
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut prefix = [0; 8];
    file.read_exact(&mut prefix).map_err(unreadable)?;
    let size = u64::from_le_bytes(prefix);
    let data = size
        .checked_add(8)
        .filter(|data| size <= MAX_HEADER_BYTES && *data <= length);
    let Some(data) = data else {
        return Err(wrong(path, format!("its header would have {size} bytes")));
    };
    let mut text = Vec::new();
    file.take(size).read_to_end(&mut text).map_err(unreadable)?;
    let members: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&text).map_err(|error| wrong(path, error))?;
    let mut tensors = Vec::new();
    for (name, value) in members {
        if name == "__metadata__" {
            continue;
        }
        let entry: Entry = serde_json::from_value(value)
            .map_err(|error| wrong(path, format!("tensor `{name}`: {error}")))?;
        let [start, end] = entry.data_offsets;
        let lies = start <= end && data.checked_add(end).is_some_and(|end| end <= length);
        if !lies {
            return Err(wrong(path, format!("tensor `{name}` doesn't lie in the file")));
        }
        let tensor = Tensor {
            file: path.to_owned(),
            start: data + start,
            bytes: end - start,
            dtype: entry.dtype,
            shape: entry.shape,
        };
        tensors.push((name, tensor));
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../enclave/engine/models/bastide-5m"
    );

    /// Computed by other code, from the document:
    ///
    /// ```python
    /// o = b"bastide-stage-weights-v1\0" + pack(">II", first, end)
    /// for k in sorted(names):
    ///     e, (s, t) = header[k], header[k]["data_offsets"]
    ///     o += pack(">I", len(k)) + k.encode() + pack(">I", len(e["dtype"])) + e["dtype"].encode()
    ///     o += pack(">I", len(e["shape"])) + b"".join(pack(">Q", n) for n in e["shape"])
    ///     o += pack(">Q", t - s) + sha256(data[s:t]).digest()
    /// sha256(o).hexdigest()
    /// ```
    #[test]
    fn known_answers_of_the_committed_model() {
        let weights = Weights::read(Path::new(COMMITTED)).unwrap();
        assert_eq!(weights.layers(), 6);
        for (first, end, digest) in [
            (
                0,
                2,
                "9f5802f33ae5b51485508b0167a2d7d16f71255004daac75f04af3b9ea17dfb1",
            ),
            (
                4,
                6,
                "954ce9aa41d44300c275b36809c37e8da155a3651a588108faa682c27c314d12",
            ),
            (
                0,
                6,
                "2ff550c24b5d14d2d994ee4d6027cb5798517f3e1ae2eeb807958d187b94bba6",
            ),
        ] {
            let range = LayerRange::new(first, end).unwrap();
            assert_eq!(hex::encode(weights.digest(range).unwrap()), digest, "{range}");
        }
        // The embedding counts at both ends, and once where they are one.
        let whole = weights.bytes(0, 6);
        let parts = weights.bytes(0, 2) + weights.bytes(2, 4) + weights.bytes(4, 6);
        assert_eq!(parts - whole, 2048 * 256 * 2);
    }

    /// A model of one layer whose tensors are empty.
    fn model(folder: &Path, change: impl Fn(&mut serde_json::Value)) {
        let mut header = serde_json::json!({"__metadata__": {"format": "pt"}});
        let ends = [EMBEDDING, NORM, OUTPUT].map(str::to_owned);
        for name in ends.into_iter().chain(of_layer(0)) {
            header[name] = serde_json::json!({"dtype": "BF16", "shape": [0], "data_offsets": [0, 0]});
        }
        change(&mut header);
        let header = serde_json::to_vec(&header).unwrap();
        let length = u64::try_from(header.len()).unwrap().to_le_bytes();
        std::fs::write(folder.join("model.safetensors"), [&length[..], &header].concat()).unwrap();
        std::fs::write(
            folder.join("config.json"),
            r#"{"num_hidden_layers": 1, "hidden_size": 9}"#,
        )
        .unwrap();
    }

    #[test]
    fn files_that_lie_or_lack_something_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        model(folder.path(), |_| {});
        assert!(Weights::read(folder.path()).is_ok());
        let refused = |change: &dyn Fn(&mut serde_json::Value), said: &str| {
            model(folder.path(), change);
            let fault = Weights::read(folder.path()).unwrap_err();
            assert_eq!(fault.code, "pipeline.model_files");
            assert!(fault.message.contains(said), "{said} in {fault}");
        };
        refused(
            &|header| header[NORM]["data_offsets"][1] = 9_999.into(),
            "doesn't lie",
        );
        refused(
            &|header| header[NORM]["data_offsets"] = serde_json::json!([9, 3]),
            "doesn't lie",
        );
        refused(&|header| header[NORM]["shape"] = "x".into(), NORM);
        refused(
            &|header| drop(header.as_object_mut().unwrap().remove(OUTPUT)),
            OUTPUT,
        );
        refused(
            &|header| {
                drop(
                    header
                        .as_object_mut()
                        .unwrap()
                        .remove("model.layers.0.mlp.up_proj.weight"),
                );
            },
            "mlp.up_proj",
        );
        std::fs::copy(
            folder.path().join("model.safetensors"),
            folder.path().join("b.safetensors"),
        )
        .unwrap();
        assert!(
            Weights::read(folder.path())
                .unwrap_err()
                .message
                .contains("in two files")
        );
        std::fs::remove_file(folder.path().join("b.safetensors")).unwrap();
        std::fs::write(folder.path().join("model.safetensors"), [0xff; 64]).unwrap();
        assert!(
            Weights::read(folder.path())
                .unwrap_err()
                .message
                .contains("its header")
        );
        std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        assert!(
            Weights::read(folder.path())
                .unwrap_err()
                .message
                .contains("got 0")
        );
    }
}
