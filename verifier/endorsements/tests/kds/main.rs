//! The client against a server over real HTTP, which does what AMD's does on a
//! bad day and what a liar would.

mod honest;
mod lies;
mod pace;
mod server;
mod silence;
#[path = "../../src/simulated.rs"]
mod simulated;
mod throttling;

pub(crate) use bastide_endorsements::Name;
use bastide_endorsements::kds::{Kds, KdsLimits};
pub(crate) use pace::TestPace;
use simulated::Guest;

/// A guest's endorsements, as the server has them.
impl From<&Guest> for Vec<(String, Vec<u8>)> {
    fn from(guest: &Guest) -> Self {
        vec![
            (guest.name().kds_path(), guest.vcek.clone()),
            (guest.chain_name().kds_path(), guest.chain.clone()),
            (guest.crl_name().kds_path(), guest.crl.clone()),
        ]
    }
}

/// A client of a server at this address, with the limits as they are.
pub(crate) fn client<'a>(address: &str, pace: &'a TestPace) -> Kds<&'a TestPace> {
    Kds::new(address.parse().unwrap(), KdsLimits::default(), pace)
}
