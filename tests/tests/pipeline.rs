//! A pipeline end to end, with real processes: the answers of one node whatever
//! the split and whoever dies, proofs of every stage that a client can check,
//! nothing on any wire in clear, and nothing at all to a stage that isn't the plan's.

#[path = "pipeline/answers.rs"]
mod answers;
#[path = "pipeline/ask.rs"]
mod ask;
#[path = "pipeline/capture.rs"]
mod capture;
#[path = "pipeline/careless.rs"]
mod careless;
#[path = "pipeline/members.rs"]
mod members;
#[path = "pipeline/planned.rs"]
mod planned;
#[path = "pipeline/strangers.rs"]
mod strangers;
#[path = "pipeline/trust.rs"]
mod trust;
#[path = "pipeline/withheld.rs"]
mod withheld;
