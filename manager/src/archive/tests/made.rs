//! Makes archives, right ones and others.

use std::io::Write;

/// An entry of a zip, with what it says of itself.
#[derive(Clone)]
pub(super) struct Zipped {
    pub(super) name: Vec<u8>,
    /// In the header before the content, if not the same.
    pub(super) local_name: Option<Vec<u8>>,
    pub(super) packed: Vec<u8>,
    pub(super) unpacked: u64,
    pub(super) method: u16,
    pub(super) flags: u16,
    pub(super) mode: u32,
    pub(super) crc: Option<u32>,
    pub(super) real_crc: u32,
    pub(super) says_packed: Option<u64>,
    pub(super) says_unpacked: Option<u64>,
    pub(super) says_at: Option<u64>,
}

impl Zipped {
    pub(super) fn new(name: &str, content: &[u8]) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            local_name: None,
            packed: content.to_vec(),
            unpacked: content.len() as u64,
            method: 0,
            flags: 0x800,
            mode: 0o100_644,
            crc: None,
            real_crc: crc32fast::hash(content),
            says_packed: None,
            says_unpacked: None,
            says_at: None,
        }
    }

    pub(super) fn deflated(mut self) -> Self {
        let fast = flate2::Compression::fast();
        let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), fast);
        packed.write_all(&self.packed).unwrap();
        self.packed = packed.finish().unwrap();
        self.method = 8;
        self
    }
}

pub(super) fn zip_files(files: &[(&str, &[u8])]) -> Vec<u8> {
    let entries: Vec<_> = files
        .iter()
        .map(|(name, content)| {
            let mode = if name.ends_with('/') { 0o040_755 } else { 0o100_644 };
            let entry = Zipped { mode, ..Zipped::new(name, content) };
            if content.is_empty() { entry } else { entry.deflated() }
        })
        .collect();
    zip(&entries)
}

/// Sizes that need it are in the field for large ones.
pub(super) fn zip(entries: &[Zipped]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let at = entry.says_at.unwrap_or(bytes.len() as u64);
        let crc = entry.crc.unwrap_or(entry.real_crc);
        let packed = entry.says_packed.unwrap_or(entry.packed.len() as u64);
        let unpacked = entry.says_unpacked.unwrap_or(entry.unpacked);
        let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
        let mut extra = vec![1, 0, 24, 0];
        for number in [unpacked, packed, at] {
            extra.extend_from_slice(&number.to_le_bytes());
        }
        let head = |bytes: &mut Vec<u8>| {
            put16(bytes, &[45, entry.flags, entry.method, 0, 0]);
            put32(bytes, &[crc, u32::MAX, u32::MAX]);
        };
        put32(&mut bytes, &[0x0403_4b50]);
        head(&mut bytes);
        put16(&mut bytes, &[u16::try_from(local_name.len()).unwrap(), 0]);
        bytes.extend_from_slice(local_name);
        bytes.extend_from_slice(&entry.packed);
        put32(&mut directory, &[0x0201_4b50]);
        put16(&mut directory, &[3 << 8]);
        head(&mut directory);
        let name_bytes = u16::try_from(entry.name.len()).unwrap();
        put16(&mut directory, &[name_bytes, u16::try_from(extra.len()).unwrap(), 0, 0, 0]);
        put32(&mut directory, &[entry.mode << 16, u32::MAX]);
        directory.extend_from_slice(&entry.name);
        directory.extend_from_slice(&extra);
    }
    let count = u16::try_from(entries.len()).unwrap();
    let at = u32::try_from(bytes.len()).unwrap();
    bytes.extend_from_slice(&directory);
    put32(&mut bytes, &[0x0605_4b50]);
    put16(&mut bytes, &[0, 0, count, count]);
    put32(&mut bytes, &[u32::try_from(directory.len()).unwrap(), at]);
    put16(&mut bytes, &[0]);
    bytes
}

fn put16(bytes: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}

fn put32(bytes: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}

pub(super) fn tar_files(files: &[(&str, &[u8])]) -> Vec<u8> {
    let entries: Vec<_> = files
        .iter()
        .map(|(name, content)| {
            let kind = if name.ends_with('/') { b'5' } else { b'0' };
            tar_entry(name, kind, content)
        })
        .collect();
    tar(&entries)
}

/// An entry with its content; a name that is too long has a header of its own.
pub(super) fn tar_entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if name.len() > 100 {
        bytes.extend(tar_entry("././@LongLink", b'L', name.as_bytes()));
    }
    let mut block = [0; 512];
    let short = &name.as_bytes()[..name.len().min(100)];
    block[..short.len()].copy_from_slice(short);
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[148..156].fill(b' ');
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    bytes.extend_from_slice(&block);
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

pub(super) fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}
