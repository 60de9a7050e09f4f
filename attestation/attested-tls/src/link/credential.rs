//! The membership credential that an end shows in its HELLO: looked up anew for
//! each link, since it is issued after the boot, for a key and a REPORT_ID that
//! are of that boot, and expires.

use std::fmt;
use std::sync::Arc;

type Source = dyn Fn() -> Option<Vec<u8>> + Send + Sync;

/// Where an end has its membership credential from. By default it has none.
#[derive(Clone, Default)]
pub struct LinkCredential(Option<Arc<Source>>);

impl LinkCredential {
    /// What `source` gives when a link is opened or accepted. Must not wait.
    #[must_use]
    pub fn looked_up(source: impl Fn() -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(source)))
    }

    pub(super) fn now(&self) -> Option<Vec<u8>> {
        self.0.as_ref().and_then(|source| source())
    }
}

impl From<Vec<u8>> for LinkCredential {
    /// This one, always.
    fn from(credential: Vec<u8>) -> Self {
        Self::looked_up(move || Some(credential.clone()))
    }
}

impl fmt::Debug for LinkCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkCredential").field(&self.0.is_some()).finish()
    }
}
