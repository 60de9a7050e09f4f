//! A fake of NVIDIA's `libnvidia-ml.so.1` for tests without a GPU: the symbols of
//! NVML that Bastide calls, played from a scenario (`scenario.rs` says how to write
//! one). Reports and chains are recorded ones, read in place; nothing is signed here.
//!
//! It is a library in C for whoever loads it, so this file is all of unsafe code;
//! the scenario and the machine that plays it are not.
#![expect(unsafe_code, reason = "exports the C interface of NVML")]

mod machine;
mod scenario;

use core::ffi::{c_char, c_uint, c_ulonglong};
use std::sync::{Mutex, MutexGuard, PoisonError};

use machine::{INSUFFICIENT_SIZE, INVALID_ARGUMENT, Machine, UNINITIALIZED, UNKNOWN, VERSION_MISMATCH};
use nvml_wrapper_sys::bindings::{
    nvmlConfComputeGetKeyRotationThresholdInfo_t, nvmlConfComputeGpuAttestationReport_t,
    nvmlConfComputeGpuCertificate_t, nvmlConfComputeMemSizeInfo_t, nvmlConfComputeSystemCaps_t,
    nvmlConfComputeSystemState_t, nvmlDevice_t, nvmlSystemConfComputeSettings_t,
};
use scenario::Device;

static MACHINE: Mutex<Option<Machine>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<Machine>> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

type Outcome = Result<(), u32>;

fn code(outcome: Outcome) -> c_uint {
    outcome.err().unwrap_or_default()
}

/// Plays a call: writes it down, takes its time, fails as it is to fail, and
/// answers otherwise. Nothing is locked while it takes its time.
fn play<T>(
    call: &'static str,
    argument: &str,
    answer: impl FnOnce(&mut Machine, usize) -> Result<T, u32>,
) -> Result<T, u32> {
    let (scenario, folder, (code, number)) = {
        let mut machine = lock();
        let machine = machine.as_mut().ok_or(UNINITIALIZED)?;
        let begun = machine.begin(call, argument);
        (machine.scenario.clone(), machine.folder().to_owned(), begun)
    };
    machine::take_time(&scenario, &folder, call);
    if code != 0 {
        return Err(code);
    }
    answer(lock().as_mut().ok_or(UNINITIALIZED)?, number)
}

/// Plays a call about a device, whose handle is its number from 1.
fn play_device<T>(
    call: &'static str,
    handle: nvmlDevice_t,
    answer: impl FnOnce(&Machine, Device) -> Result<T, u32>,
) -> Result<T, u32> {
    let index = handle.addr().checked_sub(1).ok_or(INVALID_ARGUMENT)?;
    play(call, &format!(" {index}"), |machine, _| {
        let device = machine.device(index).ok_or(INVALID_ARGUMENT)?;
        answer(machine, device)
    })
}

/// Writes an answer where the caller wants it.
///
/// # Safety
/// `place` is null, or the caller's, of that type.
unsafe fn write<T>(place: *mut T, answer: T) -> Outcome {
    if place.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, and this function's contract.
    unsafe { place.write(answer) };
    Ok(())
}

/// Writes a text with its NUL.
///
/// # Safety
/// `place` is null, or the caller's, of `length` bytes.
unsafe fn write_text(place: *mut c_char, length: c_uint, text: &str) -> Outcome {
    let length = usize::try_from(length).map_err(|_| INVALID_ARGUMENT)?;
    if place.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    if text.len() >= length {
        return Err(INSUFFICIENT_SIZE);
    }
    // SAFETY: not null, `text` and its NUL fit into `length`, and this function's contract.
    unsafe {
        place
            .cast::<u8>()
            .copy_from_nonoverlapping(text.as_ptr(), text.len());
        place.add(text.len()).write(0);
    }
    Ok(())
}

/// Copies a recorded file into an array of NVML's; the size that NVML is to give.
fn serve(path: &std::path::Path, buffer: &mut [u8], claimed: Option<u32>) -> Result<u32, u32> {
    let bytes = std::fs::read(path).map_err(|_| UNKNOWN)?;
    buffer
        .get_mut(..bytes.len())
        .ok_or(INSUFFICIENT_SIZE)?
        .copy_from_slice(&bytes);
    let size = u32::try_from(bytes.len()).map_err(|_| UNKNOWN)?;
    Ok(claimed.unwrap_or(size))
}

fn boot() -> Outcome {
    let mut running = lock();
    if running.is_none() {
        let mut machine = Machine::boot().map_err(|reason| {
            eprintln!("fake NVML: {reason}");
            UNKNOWN
        })?;
        let (code, _) = machine.begin("nvmlInit_v2", "");
        let (scenario, folder) = (machine.scenario.clone(), machine.folder().to_owned());
        machine::take_time(&scenario, &folder, "nvmlInit_v2");
        if code != 0 {
            return Err(code);
        }
        *running = Some(machine);
    }
    Ok(())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> c_uint {
    code(boot())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> c_uint {
    code(boot())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> c_uint {
    let outcome = play("nvmlShutdown", "", |_, _| Ok(()));
    *lock() = None;
    code(outcome)
}

#[unsafe(no_mangle)]
const extern "C" fn nvmlErrorString(_code: c_uint) -> *const c_char {
    c"an error of the fake".as_ptr()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(version: *mut c_char, length: c_uint) -> c_uint {
    code(play("nvmlSystemGetDriverVersion", "", |machine, _| {
        // SAFETY: as nvml.h says of `version` and `length`.
        unsafe { write_text(version, length, &machine.scenario.driver) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetConfComputeCapabilities(
    capabilities: *mut nvmlConfComputeSystemCaps_t,
) -> c_uint {
    code(play("nvmlSystemGetConfComputeCapabilities", "", |machine, _| {
        let [cpu, gpus] = machine.scenario.capabilities;
        let answer = nvmlConfComputeSystemCaps_t {
            cpuCaps: cpu,
            gpusCaps: gpus,
        };
        // SAFETY: as nvml.h says of `capabilities`.
        unsafe { write(capabilities, answer) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetConfComputeState(state: *mut nvmlConfComputeSystemState_t) -> c_uint {
    code(play("nvmlSystemGetConfComputeState", "", |machine, number| {
        let [environment, feature, developer_tools, _] = machine.settings(number);
        let answer = nvmlConfComputeSystemState_t {
            environment,
            ccFeature: feature,
            devToolsMode: developer_tools,
        };
        // SAFETY: as nvml.h says of `state`.
        unsafe { write(state, answer) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetConfComputeSettings(
    settings: *mut nvmlSystemConfComputeSettings_t,
) -> c_uint {
    code(play("nvmlSystemGetConfComputeSettings", "", |machine, number| {
        // SAFETY: as nvml.h says of `settings`, whose version the caller has set.
        let version = unsafe { settings.as_ref() }.ok_or(INVALID_ARGUMENT)?.version;
        if version != 20 | 1 << 24 {
            return Err(VERSION_MISMATCH);
        }
        let [environment, feature, developer_tools, multi_gpu] = machine.settings(number);
        let answer = nvmlSystemConfComputeSettings_t {
            version,
            environment,
            ccFeature: feature,
            devToolsMode: developer_tools,
            multiGpuMode: multi_gpu,
        };
        // SAFETY: likewise.
        unsafe { write(settings, answer) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetConfComputeGpusReadyState(accepting: *mut c_uint) -> c_uint {
    code(play(
        "nvmlSystemGetConfComputeGpusReadyState",
        "",
        |machine, _| {
            // SAFETY: as nvml.h says of `accepting`.
            unsafe { write(accepting, machine.ready()) }
        },
    ))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemSetConfComputeGpusReadyState(accepting: c_uint) -> c_uint {
    let argument = format!(" {accepting}");
    code(play(
        "nvmlSystemSetConfComputeGpusReadyState",
        &argument,
        |machine, _| {
            if accepting > 1 {
                return Err(INVALID_ARGUMENT);
            }
            machine.set_ready(accepting);
            Ok(())
        },
    ))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetConfComputeKeyRotationThresholdInfo(
    info: *mut nvmlConfComputeGetKeyRotationThresholdInfo_t,
) -> c_uint {
    let call = "nvmlSystemGetConfComputeKeyRotationThresholdInfo";
    code(play(call, "", |machine, _| {
        // SAFETY: as nvml.h says of `info`, whose version the caller has set.
        let version = unsafe { info.as_ref() }.ok_or(INVALID_ARGUMENT)?.version;
        if version != 16 | 1 << 24 {
            return Err(VERSION_MISMATCH);
        }
        let answer = nvmlConfComputeGetKeyRotationThresholdInfo_t {
            version,
            attackerAdvantage: machine.scenario.rotation,
        };
        // SAFETY: likewise.
        unsafe { write(info, answer) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> c_uint {
    code(play("nvmlDeviceGetCount_v2", "", |machine, _| {
        // SAFETY: as nvml.h says of `count`.
        unsafe { write(count, machine.count()) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut nvmlDevice_t) -> c_uint {
    let argument = format!(" {index}");
    code(play("nvmlDeviceGetHandleByIndex_v2", &argument, |machine, _| {
        let index = usize::try_from(index).map_err(|_| INVALID_ARGUMENT)?;
        machine.device(index).ok_or(INVALID_ARGUMENT)?;
        // SAFETY: as nvml.h says of `device`. Nobody reads through a handle.
        unsafe { write(device, core::ptr::without_provenance_mut(index + 1)) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetArchitecture(device: nvmlDevice_t, architecture: *mut c_uint) -> c_uint {
    code(play_device("nvmlDeviceGetArchitecture", device, |_, device| {
        // SAFETY: as nvml.h says of `architecture`.
        unsafe { write(architecture, device.architecture) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUUID(device: nvmlDevice_t, uuid: *mut c_char, length: c_uint) -> c_uint {
    code(play_device("nvmlDeviceGetUUID", device, |_, device| {
        // SAFETY: as nvml.h says of `uuid` and `length`.
        unsafe { write_text(uuid, length, &device.uuid) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetVbiosVersion(
    device: nvmlDevice_t,
    version: *mut c_char,
    length: c_uint,
) -> c_uint {
    code(play_device("nvmlDeviceGetVbiosVersion", device, |_, device| {
        // SAFETY: as nvml.h says of `version` and `length`.
        unsafe { write_text(version, length, &device.vbios) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetConfComputeMemSizeInfo(
    device: nvmlDevice_t,
    sizes: *mut nvmlConfComputeMemSizeInfo_t,
) -> c_uint {
    let call = "nvmlDeviceGetConfComputeMemSizeInfo";
    code(play_device(call, device, |machine, _| {
        let [protected, unprotected]: [c_ulonglong; 2] = machine.scenario.memory;
        let answer = nvmlConfComputeMemSizeInfo_t {
            protectedMemSizeKib: protected,
            unprotectedMemSizeKib: unprotected,
        };
        // SAFETY: as nvml.h says of `sizes`.
        unsafe { write(sizes, answer) }
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetConfComputeGpuCertificate(
    device: nvmlDevice_t,
    certificate: *mut nvmlConfComputeGpuCertificate_t,
) -> c_uint {
    let call = "nvmlDeviceGetConfComputeGpuCertificate";
    code(play_device(call, device, |machine, device| {
        // SAFETY: as nvml.h says of `certificate`: the caller's, and of nobody else meanwhile.
        let certificate = unsafe { certificate.as_mut() }.ok_or(INVALID_ARGUMENT)?;
        certificate.attestationCertChainSize = serve(
            &device.chain,
            &mut certificate.attestationCertChain,
            machine.scenario.chain_size,
        )?;
        Ok(())
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetConfComputeGpuAttestationReport(
    device: nvmlDevice_t,
    report: *mut nvmlConfComputeGpuAttestationReport_t,
) -> c_uint {
    let call = "nvmlDeviceGetConfComputeGpuAttestationReport";
    code(play_device(call, device, |machine, device| {
        // SAFETY: as nvml.h says of `report`: the caller's, and of nobody else meanwhile.
        let report = unsafe { report.as_mut() }.ok_or(INVALID_ARGUMENT)?;
        report.attestationReportSize = serve(
            &device.report,
            &mut report.attestationReport,
            machine.scenario.report_size,
        )?;
        Ok(())
    }))
}
