//! One page of guest memory, and the chain of PAGE_INFO structures that makes a
//! launch digest \[SNP ABI 56860, SNP_LAUNCH_UPDATE\].

use bastide_attestation::{LaunchMeasurement, sha384};

/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = 4096;
/// [`PAGE_BYTES`] as an address offset.
pub(crate) const PAGE_SIZE: u64 = 4096;

/// Where the VMSA of every vCPU counts as being: the page of address −1 with
/// the bits above 51 cleared \[SNP ABI 56860, SNP_LAUNCH_FINISH and KVM\].
pub(crate) const VMSA_GPA: u64 = 0xffff_ffff_f000;

const DIGEST_BYTES: usize = 48;
/// PAGE_INFO's own length, a field of it.
const PAGE_INFO_BYTES: u16 = 0x70;

/// One page under construction. Offsets are checked when this crate is
/// compiled, so that nothing is ever cut off silently.
pub(crate) struct Page([u8; PAGE_BYTES]);

impl Page {
    /// A page of zeros.
    pub(crate) const fn zero() -> Self {
        Self([0; PAGE_BYTES])
    }

    /// Puts bytes at an offset.
    pub(crate) fn put<const AT: usize, const N: usize>(&mut self, bytes: [u8; N]) {
        const { assert!(AT + N <= PAGE_BYTES, "outside the page") };
        let place = self.0.iter_mut().skip(AT);
        place.zip(bytes).for_each(|(to, from)| *to = from);
    }

    /// Puts bytes at an offset that is known only later; false, and nothing
    /// written, if they don't fit.
    #[must_use]
    pub(crate) fn try_put(&mut self, at: usize, bytes: &[u8]) -> bool {
        let place = at
            .checked_add(bytes.len())
            .and_then(|end| self.0.get_mut(at..end));
        let Some(place) = place else { return false };
        place.copy_from_slice(bytes);
        true
    }

    /// SHA-384 of the page.
    pub(crate) fn digest(&self) -> [u8; DIGEST_BYTES] {
        sha384(&[&self.0])
    }
}

/// PAGE_TYPE of a page that is added at launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageType {
    Normal,
    Vmsa,
    Zero,
    Secrets,
    Cpuid,
}

impl PageType {
    const fn number(self) -> u8 {
        match self {
            Self::Normal => 1,
            Self::Vmsa => 2,
            Self::Zero => 3,
            Self::Secrets => 5,
            Self::Cpuid => 6,
        }
    }
}

/// The launch digest so far. It begins as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain([u8; DIGEST_BYTES]);

impl Chain {
    /// Before any page.
    pub(crate) const fn new() -> Self {
        Self([0; DIGEST_BYTES])
    }

    /// Adds a page whose content is measured.
    pub(crate) fn add(&mut self, page_type: PageType, gpa: u64, content: &[u8; DIGEST_BYTES]) {
        let [length0, length1] = PAGE_INFO_BYTES.to_le_bytes();
        // PAGE_TYPE, IMI_PAGE, then the permissions of VMPL 3, 2 and 1, and a reserved byte.
        let header = [length0, length1, page_type.number(), 0, 0, 0, 0, 0];
        self.0 = sha384(&[&self.0, content, &header, &gpa.to_le_bytes()]);
    }

    /// Adds a page whose content isn't measured: the firmware fills it.
    pub(crate) fn add_unmeasured(&mut self, page_type: PageType, gpa: u64) {
        self.add(page_type, gpa, &[0; DIGEST_BYTES]);
    }

    /// The digest.
    pub(crate) const fn measurement(&self) -> LaunchMeasurement {
        LaunchMeasurement::new(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{PAGE_BYTES, Page};

    #[test]
    fn what_does_not_fit_into_a_page_is_not_put() {
        let mut page = Page::zero();
        assert!(page.try_put(PAGE_BYTES - 2, &[1, 2]));
        assert!(!page.try_put(PAGE_BYTES - 1, &[7, 7]));
        assert!(!page.try_put(usize::MAX, &[7]));
        page.put::<0, 1>([9]);
        assert_eq!((page.0[0], &page.0[PAGE_BYTES - 2..]), (9, [1, 2].as_slice()));
        assert!(page.0[1..PAGE_BYTES - 2].iter().all(|byte| *byte == 0));
    }
}
