//! What this machine can compute, for whoever plans a pipeline: its memory, and
//! how long one row takes one layer. Measured once, when it is first asked for.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bastide_attestation::SpkiDigest;
use bastide_engine::{Input, Model, Rows, Scratch};
use serde::Serialize;

use crate::json;

/// Rows that are timed; the fastest counts, since others may compute meanwhile.
const ROWS: usize = 16;
const SCHEMA: &str = "bastide.capacity/v1";

/// What a machine can compute.
#[derive(Debug)]
pub(crate) struct Capacity {
    memory_bytes: u64,
    max_sequences: usize,
    draft: Option<Arc<Model>>,
    link_key: Option<SpkiDigest>,
    measured: OnceLock<Measured>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    layer: Duration,
    draft: Option<Duration>,
}

impl Capacity {
    /// Of this machine, whose node holds `max_sequences` answers at once, drafts
    /// with `draft`, and has the key `link_key` on links.
    pub(crate) fn new(max_sequences: usize, draft: Option<Arc<Model>>, link_key: Option<SpkiDigest>) -> Self {
        let system = rustix::system::sysinfo();
        Self {
            memory_bytes: system.totalram.saturating_mul(u64::from(system.mem_unit)),
            max_sequences,
            draft,
            link_key,
            measured: OnceLock::new(),
        }
    }

    /// One JSON object, `bastide.capacity/v1`. Computes for a moment when first called.
    pub(crate) fn describe(&self, model: &Model) -> Vec<u8> {
        #[derive(Serialize)]
        struct Described<'a> {
            schema: &'static str,
            model: &'a str,
            layers: usize,
            memory_bytes: u64,
            row_us_per_layer: f64,
            draft_us: Option<f64>,
            draft: Option<String>,
            max_sequences: usize,
            link_key: Option<String>,
        }
        let measured = self.measured.get_or_init(|| Measured {
            layer: row(model) / u32::try_from(model.layers().len().max(1)).unwrap_or(u32::MAX),
            draft: self.draft.as_deref().map(row),
        });
        let draft = self.draft.as_deref();
        json::encode(&Described {
            schema: SCHEMA,
            model: model.name(),
            layers: model.config().layers,
            memory_bytes: self.memory_bytes,
            row_us_per_layer: microseconds(measured.layer),
            draft_us: measured.draft.map(microseconds),
            draft: draft.map(|draft| crate::model::manifest(draft, None).digest().to_string()),
            max_sequences: self.max_sequences,
            link_key: self.link_key.map(|key| key.to_string()),
        })
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The least time that one row took through the layers that are loaded.
fn row(model: &Model) -> Duration {
    let (mut cache, mut scratch) = (model.new_cache(ROWS), Scratch::new());
    let hidden = vec![0.5; model.config().hidden];
    let from_ids = model.layers().start == 0;
    let mut least = Duration::MAX;
    for pos in 0..cache.capacity() {
        let input = if from_ids {
            Input::Ids(&[0])
        } else {
            Input::Hidden(&hidden)
        };
        let began = Instant::now();
        if model
            .forward_rows(input, pos, Rows::Last, &mut cache, &mut scratch)
            .is_err()
        {
            break;
        }
        least = least.min(began.elapsed());
    }
    least
}

#[cfg(test)]
mod tests {
    use super::Capacity;
    use crate::model;
    use bastide_attestation::SpkiDigest;
    use serde_json::Value;
    use std::path::Path;
    use std::sync::Arc;

    #[test]
    fn a_machine_says_what_it_has_and_how_fast_it_is() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/models/bastide-5m");
        let model = model::load(&folder, None).unwrap();
        let capacity = Capacity::new(3, None, None);
        let described = capacity.describe(&model);
        let json: Value = serde_json::from_slice(&described).unwrap();
        assert_eq!(json["schema"], "bastide.capacity/v1");
        assert_eq!((&json["layers"], &json["max_sequences"]), (&6.into(), &3.into()));
        assert!(json["memory_bytes"].as_u64().unwrap() > 1 << 20);
        assert!(json["row_us_per_layer"].as_f64().unwrap() > 0.0);
        assert!(json["draft_us"].is_null() && json["draft"].is_null() && json["link_key"].is_null());
        let folder = folder.with_file_name("bastide-5m-draft");
        let draft = Arc::new(model::load(&folder, None).unwrap());
        let json: Value = serde_json::from_slice(
            &Capacity::new(3, Some(Arc::clone(&draft)), Some(SpkiDigest::new([0xab; 32]))).describe(&model),
        )
        .unwrap();
        assert!(json["draft_us"].as_f64().unwrap() > 0.0);
        assert_eq!(json["link_key"], "ab".repeat(32));
        assert_eq!(json["draft"], model::manifest(&draft, None).digest().to_string());
        assert_eq!(capacity.describe(&model), described, "measured once");
    }
}
