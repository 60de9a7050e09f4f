//! The exit codes of every command. Scripts rely on them: they never change,
//! and none of them is 0 on doubt.

/// Accepted; or, where nothing is judged, done.
pub(crate) const ACCEPTED: u8 = 0;
/// A fault of this program or its machine.
pub(crate) const INTERNAL: u8 = 1;
/// The command line, or a file it names, is not usable.
pub(crate) const USAGE: u8 = 2;
/// A check failed.
pub(crate) const REJECTED: u8 = 10;
/// Evidence of a kind or version that isn't supported.
pub(crate) const UNSUPPORTED: u8 = 20;
/// Input that isn't what its format says.
pub(crate) const MALFORMED: u8 = 30;
/// It could not be decided: a node or an endorsement was not to be had.
pub(crate) const UNAVAILABLE: u8 = 40;

/// For `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  accepted               20  evidence of an unsupported kind
  1  internal error         30  malformed input
  2  usage                  40  could not decide: node or endorsements unavailable
 10  rejected";
