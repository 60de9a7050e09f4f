//! Whose plans a person accepts, as the commands that send prompts are told.

use std::path::PathBuf;

use clap::Args;

use super::stages::Wanted;
use crate::fault::Fault;

/// Options for pipelines.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pipeline")]
pub(crate) struct TrustArgs {
    /// Accept plans that this owner signed, whatever policies they hold stages to: hex, or a file of keys; may be repeated
    #[arg(long, value_name = "KEY|FILE")]
    owner: Vec<String>,
    /// Accept only this signed plan
    #[arg(long, value_name = "FILE", conflicts_with = "owner")]
    plan: Option<PathBuf>,
}

impl TrustArgs {
    /// Whether an owner or a plan is named.
    pub(crate) fn names_any(&self) -> bool {
        !self.owner.is_empty() || self.plan.is_some()
    }

    /// What is wanted of a pipeline, if the node has one.
    ///
    /// # Errors
    /// [`Fault`] if a key or the plan can't be read.
    pub(crate) fn wanted(&self) -> Result<Wanted, Fault> {
        Ok(Wanted {
            owners: super::owners(&self.owner)?,
            plan: self
                .plan
                .as_deref()
                .map(crate::command::pipeline::read)
                .transpose()?,
            ..Wanted::default()
        })
    }
}
