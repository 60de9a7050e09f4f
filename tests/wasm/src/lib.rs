//! The verifier as a WebAssembly module with a plain C interface, so that
//! whatever loads it can be compared with `bastide appraise`: a request in, the
//! verdict's JSON out. Owns the interface; decides nothing. It imports nothing:
//! no clock, no random numbers, no I/O.
//!
//! A request is, one after the other: the report, the VCEK or VLEK, the chain,
//! the revocation list and the policy, each as a length of four bytes,
//! little-endian, and that many bytes; then the time, seconds since 1970, eight
//! bytes, little-endian. The chain is certificates in that same form. An empty
//! revocation list is none.
//!
//! A request about GPUs is the reports, the chains, the manifests and the OCSP
//! answers, each a list in that form, then the policy and the time likewise.

use bastide_attestation::UnixTime;
use bastide_attestation::nvidia::GpuEndorsements;
use bastide_verifier::{Policy, RecordedGpu, RecordedGpus, RecordedSnp, Verifier};

/// Gives `length` bytes, zeroed, for a request.
#[unsafe(no_mangle)]
pub extern "C" fn bastide_alloc(length: usize) -> *mut u8 {
    Box::into_raw(vec![0_u8; length].into_boxed_slice()).cast()
}

/// Takes back what [`bastide_alloc`] or [`bastide_appraise`] gave.
///
/// # Safety
/// `pointer` and `length` are those of one such block, which is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bastide_free(pointer: *mut u8, length: usize) {
    // SAFETY: the block was a `Box<[u8]>` of this length, by the caller's promise.
    drop(unsafe { Box::from_raw(core::ptr::slice_from_raw_parts_mut(pointer, length)) });
}

/// Appraises the request in `length` bytes at `pointer`, which stays the
/// caller's. Answers with the address of a JSON text in the upper 32 bits and
/// its length in the lower ones; [`bastide_free`] takes it back. The text is
/// the verdict, or an object with `error` if there was nothing to judge.
///
/// # Safety
/// `pointer` points to `length` bytes that nothing changes meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bastide_appraise(pointer: *const u8, length: usize) -> u64 {
    // SAFETY: the bytes are there and stay the same, by the caller's promise.
    let request = unsafe { core::slice::from_raw_parts(pointer, length) };
    give(appraise(request))
}

/// The same for a request about GPUs.
///
/// # Safety
/// `pointer` points to `length` bytes that nothing changes meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bastide_appraise_gpus(pointer: *const u8, length: usize) -> u64 {
    // SAFETY: the bytes are there and stay the same, by the caller's promise.
    let request = unsafe { core::slice::from_raw_parts(pointer, length) };
    give(appraise_gpus(request))
}

/// Address and length of an answer, which is the caller's from now on.
fn give(answer: Result<String, String>) -> u64 {
    let answer = answer.unwrap_or_else(|error| serde_json::json!({ "error": error }).to_string());
    let answer = Box::into_raw(answer.into_bytes().into_boxed_slice());
    (answer.cast::<u8>() as u64) << 32 | answer.len() as u64
}

fn appraise(request: &[u8]) -> Result<String, String> {
    let mut rest = request;
    let mut next = || part(&mut rest).ok_or("a request cut short");
    let (report, vek, chain, crl, policy) = (next()?, next()?, next()?, next()?, next()?);
    let now = time(rest)?;
    let chain = list(chain)?;
    let policy = Policy::parse(policy).map_err(|error| error.to_string())?;
    let evidence = RecordedSnp {
        report,
        vek,
        chain: &chain,
        crl: (!crl.is_empty()).then_some(crl),
        report_data: None,
    };
    let verdict = Verifier::new(policy).appraise_recorded(&evidence, now);
    serde_json::to_string(&verdict).map_err(|error| error.to_string())
}

fn appraise_gpus(request: &[u8]) -> Result<String, String> {
    let mut rest = request;
    let mut next = || part(&mut rest).ok_or("a request cut short");
    let (reports, chains, rims, ocsp, policy) = (next()?, next()?, next()?, next()?, next()?);
    let now = time(rest)?;
    let (reports, chains) = (list(reports)?, list(chains)?);
    let devices: Vec<_> = reports
        .iter()
        .zip(&chains)
        .map(|(report, chain)| RecordedGpu { report, chain })
        .collect();
    let endorsements = GpuEndorsements {
        rims: list(rims)?,
        ocsp: list(ocsp)?,
        crls: Vec::new(),
    };
    let policy = Policy::parse(policy).map_err(|error| error.to_string())?;
    let gpus = RecordedGpus {
        devices: &devices,
        endorsements: &endorsements,
        nonce: None,
        nras: None,
    };
    let verdict = Verifier::new(policy).appraise_recorded_gpus(&gpus, now);
    serde_json::to_string(&verdict).map_err(|error| error.to_string())
}

/// What is left of a request: its time.
fn time(rest: &[u8]) -> Result<UnixTime, String> {
    let bytes = rest.try_into().map_err(|_| "a request without its time")?;
    Ok(UnixTime::from_secs(u64::from_le_bytes(bytes)))
}

/// The parts inside a part.
fn list(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        parts.push(part(&mut bytes).ok_or("a list cut short")?.to_vec());
    }
    Ok(parts)
}

/// The next part of a request.
fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (part, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(part)
}
