//! Whether an answer and its record are what one node's would be.

use bastide_attestation::Salt;
use bastide_pipeline::head::{Finish, Record};
use bastide_pipeline::stage::row_digest;

use super::World;
use crate::model::EOS;
use crate::stage::rows_digest;

impl World {
    pub(crate) fn check(&self) {
        for (place, outcome) in self.outcomes.iter().enumerate() {
            let (ask, expected) = (&self.setting.asks[place], &self.expected[place]);
            let Some(record) = &outcome.record else { continue };
            let produced = usize::try_from(record.produced).unwrap();
            match record.finish {
                Finish::Stop => assert_eq!(record.produced, ask.budget, "stopped where it was told to"),
                Finish::Eos | Finish::Length => {
                    assert_eq!(&outcome.emitted, expected);
                    assert_eq!(produced, expected.len());
                    assert_eq!(record.finish == Finish::Eos, expected.last() == Some(&EOS));
                }
            }
            assert_eq!(
                usize::try_from(record.rows).unwrap(),
                ask.prompt.len() + produced - 1
            );
            assert!(record.accepted <= record.drafted && record.replans.len() <= 16);
            // What a verifier of the receipt holds against each other.
            let most = record.rounds * u32::from(record.largest_k);
            assert!(
                record.drafted <= most,
                "{} drafted, {most} at most",
                record.drafted
            );
            let salt = Salt::new([u8::try_from(place).unwrap(); 32]);
            let digest = |ids: &[u32], first: usize| {
                let rows: Vec<[u8; 32]> = ids
                    .iter()
                    .zip(first..)
                    .map(|(id, p)| row_digest(&salt, u64::try_from(p).unwrap(), &id.to_le_bytes()))
                    .collect();
                rows_digest(&salt, &rows)
            };
            let mut rows = ask.prompt.clone();
            rows.extend_from_slice(&expected[..produced - 1]);
            let mut joint = digest(&rows, 0);
            assert_eq!(record.parts.len(), usize::from(self.setting.stages));
            for part in &record.parts {
                assert_eq!(part[..32], joint, "out-digest and in-digest join");
                joint.copy_from_slice(&part[32..64]);
                assert_eq!(part[64..], record.rows.to_le_bytes());
            }
            assert_eq!(joint, record.emitted, "the tail's out-digest is the head's");
            assert_eq!(joint, digest(&expected[..produced], ask.prompt.len()));
        }
        let records: Vec<_> = self
            .outcomes
            .iter()
            .filter_map(|outcome| outcome.record.as_ref())
            .collect();
        if records.len() == self.outcomes.len() {
            let counts = self.head.status().counts;
            let sum = |of: fn(&&Record) -> u32| records.iter().map(of).map(u64::from).sum::<u64>();
            assert_eq!(
                counts.drafted,
                sum(|record| record.drafted),
                "receipts and metrics agree"
            );
            assert_eq!(
                counts.rounds,
                sum(|record| record.rounds),
                "receipts and metrics agree"
            );
        }
    }
}
