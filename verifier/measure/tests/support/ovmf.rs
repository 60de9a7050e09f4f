//! Builds images that are laid out as edk2 lays OVMF out, with every field open
//! to change. Written from edk2's description of the format, apart from the
//! parser, so that the two can disagree.

/// A section as the metadata lists it: guest physical address, bytes, type.
pub(crate) type Section = (u32, u32, u32);

/// One entry of the table: GUID as text, data.
pub(crate) type Entry = (&'static str, Vec<u8>);

pub(crate) const SEV_METADATA: &str = "dc886566-984a-4798-a75e-5585a7bf67cc";
pub(crate) const SEV_HASH_TABLE: &str = "7255371f-3a3b-4b04-927b-1da6efa8d454";
pub(crate) const SEV_ES_RESET_BLOCK: &str = "00f771de-1a7e-4fcb-890e-68c77e2fb44e";
const SEV_SECRET_BLOCK: &str = "4c2eb361-7d9b-4cc3-8081-127c90d3d294";
const FOOTER: &str = "96b582de-1fb2-45f7-baea-a366c55a082d";

/// Distance of the metadata from the image's end.
pub(crate) const METADATA_OFFSET: u32 = 0x800;

/// An image to be built.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Its length.
    pub(crate) pages: usize,
    /// What it is filled with.
    pub(crate) seed: u64,
    /// Table entries, in the order of addresses.
    pub(crate) entries: Vec<Entry>,
    /// A length for an entry in place of its own: which, from 0, and what.
    pub(crate) entry_length: Option<(usize, u16)>,
    /// Bytes in front of the table's first entry, counted in its length.
    pub(crate) remainder: usize,
    /// The footer's GUID.
    pub(crate) footer: &'static str,
    /// The table's length in place of its own.
    pub(crate) table_length: Option<u16>,
    /// Where the metadata is put.
    pub(crate) metadata_at: u32,
    pub(crate) signature: [u8; 4],
    pub(crate) version: u32,
    pub(crate) sections: Vec<Section>,
    /// The metadata's length in place of its own.
    pub(crate) metadata_length: Option<u32>,
    /// The number of sections in place of theirs.
    pub(crate) count: Option<u32>,
}

impl Image {
    /// Like edk2's AmdSevX64: takes kernel hashes.
    pub(crate) fn amd_sev() -> Self {
        let mut image = Self::ovmf_x64();
        image.seed = 0x616d_6473;
        image.set(
            SEV_HASH_TABLE,
            [0x0081_0c00_u32.to_le_bytes(), 0x400_u32.to_le_bytes()].concat(),
        );
        image.sections.truncate(5);
        image.sections.push((0x81_0000, 0x1000, 0x10));
        image.sections.push((0x81_1000, 0xf000, 1));
        image
    }

    /// Like edk2's OvmfPkgX64: starts whatever kernel it is given.
    pub(crate) fn ovmf_x64() -> Self {
        Self {
            pages: 8,
            seed: 0x6f76_6d66,
            entries: vec![
                (SEV_METADATA, METADATA_OFFSET.to_le_bytes().to_vec()),
                (SEV_HASH_TABLE, vec![0; 8]),
                (SEV_SECRET_BLOCK, vec![0; 8]),
                (SEV_ES_RESET_BLOCK, 0x0080_b004_u32.to_le_bytes().to_vec()),
            ],
            entry_length: None,
            remainder: 0,
            footer: FOOTER,
            table_length: None,
            metadata_at: METADATA_OFFSET,
            signature: *b"ASEV",
            version: 1,
            sections: vec![
                (0x80_0000, 0x9000, 1),
                (0x80_a000, 0x3000, 1),
                (0x80_d000, 0x1000, 2),
                (0x80_e000, 0x1000, 3),
                (0x80_f000, 0x1000, 4),
                (0x81_0000, 0x1_0000, 1),
            ],
            metadata_length: None,
            count: None,
        }
    }

    /// Changes the data of an entry.
    pub(crate) fn set(&mut self, guid: &str, data: Vec<u8>) {
        let entry = self.entries.iter_mut().find(|(known, _)| *known == guid);
        entry.expect("the image has such an entry").1 = data;
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, guid: &str) {
        self.entries.retain(|(known, _)| *known != guid);
    }

    /// The bytes.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut bytes = self.filling();
        let end = bytes.len();
        put(&mut bytes, end - self.metadata_at as usize, &self.metadata());
        let table = self.table();
        put(&mut bytes, end - 32 - table.len(), &table);
        bytes
    }

    /// Pages that differ from one another (xorshift).
    fn filling(&self) -> Vec<u8> {
        let mut state = self.seed | 1;
        let mut words = Vec::with_capacity(self.pages * 512);
        for _ in 0..self.pages * 512 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            words.extend_from_slice(&state.to_le_bytes());
        }
        words
    }

    fn metadata(&self) -> Vec<u8> {
        let number = u32::try_from(self.sections.len()).expect("few sections");
        let mut bytes = self.signature.to_vec();
        for word in [
            self.metadata_length.unwrap_or(16 + 12 * number),
            self.version,
            self.count.unwrap_or(number),
        ] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for (gpa, size, kind) in &self.sections {
            [gpa, size, kind]
                .iter()
                .for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        }
        bytes
    }

    fn table(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.remainder];
        for (at, (guid, data)) in self.entries.iter().enumerate() {
            let stated = match self.entry_length {
                Some((which, length)) if which == at => length,
                _ => length(data) + 18,
            };
            bytes.extend_from_slice(data);
            bytes.extend_from_slice(&stated.to_le_bytes());
            bytes.extend_from_slice(&guid_bytes(guid));
        }
        let stated = self.table_length.unwrap_or_else(|| length(&bytes) + 18);
        bytes.extend_from_slice(&stated.to_le_bytes());
        bytes.extend_from_slice(&guid_bytes(self.footer));
        bytes
    }
}

fn length(bytes: &[u8]) -> u16 {
    bytes.len().try_into().expect("a short table")
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

/// A GUID's bytes in memory: the first three groups reversed.
pub(crate) fn guid_bytes(text: &str) -> [u8; 16] {
    let groups: Vec<Vec<u8>> = text
        .split('-')
        .map(|group| {
            let pairs = group.as_bytes().chunks(2);
            let pairs = pairs.map(|pair| std::str::from_utf8(pair).expect("hex digits"));
            pairs
                .map(|pair| u8::from_str_radix(pair, 16).expect("hex digits"))
                .collect()
        })
        .collect();
    let reversed = groups.iter().take(3).flat_map(|group| group.iter().rev());
    let bytes: Vec<u8> = reversed.chain(groups.iter().skip(3).flatten()).copied().collect();
    bytes.try_into().expect("sixteen bytes")
}
