//! Asks NVML everything that evidence of a GPU needs, each call for itself, and
//! says what it answered and how long it took. Changes nothing.
//!
//! `cargo run --release -p bastide-attester --example gpu-evidence -- [--library PATH]
//! [--times N] [--out FOLDER]`
//!
//! Lines for people go to stderr, one JSON object to stdout. With `--out`, each
//! report and chain is written there. Exits with 0 if the settings are those of
//! production and every report came, 10 if not, 1 if NVML isn't there, 2 if an
//! argument or a file is wrong.

use std::fmt::Display;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bastide_attestation::GpuNonce;
use bastide_attester::nvml::{
    DEFAULT_LIBRARY, Failure, GpuError, Library, LoadedLibrary, MAX_GPUS, Settings,
};

const REFUSED: u8 = 10;
const NO_NVML: u8 = 1;
const USAGE: u8 = 2;

struct Arguments {
    library: PathBuf,
    out: Option<PathBuf>,
    times: usize,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut parsed = Self {
            library: DEFAULT_LIBRARY.into(),
            out: None,
            times: 20,
        };
        let mut arguments = std::env::args_os().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("expected a value after `{}`", name.display()))?;
            match name.to_str() {
                Some("--library") => parsed.library = value.into(),
                Some("--out") => parsed.out = Some(value.into()),
                Some("--times") => {
                    parsed.times = value
                        .to_str()
                        .and_then(|text| text.parse().ok())
                        .filter(|times| (1..=10_000).contains(times))
                        .ok_or("expected a number from 1 to 10000 after `--times`")?;
                }
                _ => {
                    return Err(format!(
                        "expected --library, --out or --times, got `{}`",
                        name.display()
                    ));
                }
            }
        }
        Ok(parsed)
    }
}

fn main() -> ExitCode {
    let (json, code) = match Arguments::parse().and_then(|arguments| run(&arguments)) {
        Ok(result) => result,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(USAGE);
        }
    };
    println!("{json}");
    ExitCode::from(code)
}

fn run(arguments: &Arguments) -> Result<(String, u8), String> {
    let started = Instant::now();
    let library = match LoadedLibrary::open(&arguments.library) {
        Ok(library) => library,
        Err(error) => {
            eprintln!("{error}");
            let json = object(&[
                ("library", text(&arguments.library.display())),
                ("error", text(&error)),
            ]);
            return Ok((json, NO_NVML));
        }
    };
    let opened = started.elapsed();
    eprintln!("{:<55} loaded and initialised, {}", "nvmlInit_v2", micros(opened));

    let mut nonce = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut nonce))
        .map_err(|error| format!("/dev/urandom: {error}"))?;
    let nonce = GpuNonce::new(nonce);

    let mut calls = Calls {
        times: arguments.times,
        results: Vec::new(),
    };
    let (settings, count) = system(&library, &mut calls);
    let system = array(&std::mem::take(&mut calls.results));
    let mut devices = Vec::new();
    let mut reported = count > 0;
    for index in 0..count {
        eprintln!("GPU {index}");
        let evidence = device(&library, &mut calls, index, &nonce);
        reported &= evidence.report.is_some();
        for (bytes, name) in [
            (&evidence.report, format!("report-{index}.bin")),
            (&evidence.chain, format!("chain-{index}.pem")),
        ] {
            if let (Some(folder), Some(bytes)) = (&arguments.out, bytes) {
                let path = folder.join(name);
                std::fs::create_dir_all(folder)
                    .and_then(|()| std::fs::write(&path, bytes))
                    .map_err(|error| format!("`{}`: {error}", path.display()))?;
            }
        }
        devices.push(object(&[
            ("index", index.to_string()),
            ("calls", array(&std::mem::take(&mut calls.results))),
        ]));
    }

    let verdict = settings.as_ref().map_err(Clone::clone).and_then(|settings| {
        settings.require_production()?;
        if count == 0 { Err(GpuError::NoGpus) } else { Ok(()) }
    });
    let refusal = match &verdict {
        Err(error) => Some(error.to_string()),
        Ok(()) if !reported => Some("a GPU gave no report".to_owned()),
        Ok(()) => None,
    };
    match &refusal {
        Some(reason) => eprintln!("refused: {reason}"),
        None => eprintln!("production: every GPU reports"),
    }
    let json = object(&[
        ("library", text(&arguments.library.display())),
        ("open_us", micros_number(opened)),
        ("times", arguments.times.to_string()),
        ("nonce", text(&nonce)),
        ("system", system),
        ("settings", settings.as_ref().map_or_else(error_object, typed)),
        ("devices", array(&devices)),
        (
            "refused",
            refusal.as_ref().map_or_else(|| "null".to_owned(), text),
        ),
    ]);
    Ok((json, if refusal.is_some() { REFUSED } else { 0 }))
}

/// What is of the whole system: typed settings, and how many GPUs to ask.
fn system(library: &LoadedLibrary, calls: &mut Calls) -> (Result<Settings, GpuError>, u32) {
    calls.say("nvmlSystemGetDriverVersion", || library.driver_version(), text);
    let capabilities = calls.make(
        "nvmlSystemGetConfComputeCapabilities",
        || library.capabilities(),
        |raw| {
            object(&[
                ("cpuCaps", raw.cpu.to_string()),
                ("gpusCaps", raw.gpus.to_string()),
            ])
        },
    );
    calls.say(
        "nvmlSystemGetConfComputeState",
        || library.state(),
        |raw| {
            object(&[
                ("environment", raw.environment.to_string()),
                ("ccFeature", raw.feature.to_string()),
                ("devToolsMode", raw.developer_tools.to_string()),
            ])
        },
    );
    let settings = calls.make(
        "nvmlSystemGetConfComputeSettings",
        || library.settings(),
        |raw| {
            object(&[
                ("environment", raw.environment.to_string()),
                ("ccFeature", raw.feature.to_string()),
                ("devToolsMode", raw.developer_tools.to_string()),
                ("multiGpuMode", raw.multi_gpu.to_string()),
            ])
        },
    );
    calls.say(
        "nvmlSystemGetConfComputeGpusReadyState",
        || library.ready_state(),
        u32::to_string,
    );
    calls.say(
        "nvmlSystemGetConfComputeKeyRotationThresholdInfo",
        || library.key_rotation_threshold(),
        u64::to_string,
    );
    let count = calls.make("nvmlDeviceGetCount_v2", || library.device_count(), u32::to_string);
    let typed = settings
        .map_err(GpuError::Call)
        .and_then(|settings| Settings::new_or_fault(capabilities, settings));
    (typed, count.unwrap_or_default().min(MAX_GPUS))
}

struct Evidence {
    report: Option<Vec<u8>>,
    chain: Option<Vec<u8>>,
}

fn device(library: &LoadedLibrary, calls: &mut Calls, index: u32, nonce: &GpuNonce) -> Evidence {
    calls.say(
        "nvmlDeviceGetArchitecture",
        || library.architecture(index),
        u32::to_string,
    );
    calls.say("nvmlDeviceGetUUID", || library.uuid(index), text);
    calls.say("nvmlDeviceGetVbiosVersion", || library.vbios_version(index), text);
    calls.say(
        "nvmlDeviceGetConfComputeMemSizeInfo",
        || library.memory_sizes(index),
        |sizes| {
            object(&[
                ("protectedMemSizeKib", sizes.protected_kib.to_string()),
                ("unprotectedMemSizeKib", sizes.unprotected_kib.to_string()),
            ])
        },
    );
    let size = |bytes: &Vec<u8>| object(&[("bytes", bytes.len().to_string())]);
    let chain = calls.make(
        "nvmlDeviceGetConfComputeGpuCertificate",
        || library.attestation_chain(index),
        size,
    );
    // As every call, not repeated after a failure: that can leave a GPU unusable.
    let report = calls.make(
        "nvmlDeviceGetConfComputeGpuAttestationReport",
        || library.attestation_report(index, nonce),
        size,
    );
    Evidence {
        report: report.ok(),
        chain: chain.ok(),
    }
}

/// Makes calls, several times each, and keeps what to say about them.
struct Calls {
    times: usize,
    results: Vec<String>,
}

impl Calls {
    /// Makes a call whose answer nothing else needs.
    fn say<T>(
        &mut self,
        call: &'static str,
        make: impl FnMut() -> Result<T, Failure>,
        show: impl FnOnce(&T) -> String,
    ) {
        // A failure is in the results already.
        drop(self.make(call, make, show));
    }

    /// Makes a call until it fails, or as often as asked; the last answer counts.
    fn make<T>(
        &mut self,
        call: &'static str,
        mut make: impl FnMut() -> Result<T, Failure>,
        show: impl FnOnce(&T) -> String,
    ) -> Result<T, Failure> {
        let mut durations = Vec::with_capacity(self.times);
        let answer = loop {
            let started = Instant::now();
            let answer = make();
            durations.push(started.elapsed());
            if answer.is_err() || durations.len() >= self.times {
                break answer;
            }
        };
        // NVML keeps some answers, so the first call may be the only one to ask the driver.
        let first = durations.first().copied().unwrap_or_default();
        durations.sort_unstable();
        let least = durations.first().copied().unwrap_or_default();
        let median = durations.get(durations.len() / 2).copied().unwrap_or_default();
        let shown = match &answer {
            Ok(answer) => ("value", show(answer)),
            Err(failure) => ("error", text(failure)),
        };
        eprintln!(
            "{call:<55} {} ({} ×, first {}, min {}, median {})",
            shown.1,
            durations.len(),
            micros(first),
            micros(least),
            micros(median)
        );
        let code = match &answer {
            Err(Failure::Status { status, .. }) => status.code().to_string(),
            Ok(_) => "0".to_owned(),
            Err(_) => "null".to_owned(),
        };
        self.results.push(object(&[
            ("call", text(call)),
            ("code", code),
            shown,
            ("times", durations.len().to_string()),
            ("first_us", micros_number(first)),
            ("min_us", micros_number(least)),
            ("median_us", micros_number(median)),
        ]));
        answer
    }
}

fn typed(settings: &Settings) -> String {
    let faults: Vec<String> = settings.faults().iter().map(text).collect();
    object(&[
        ("environment", text(&settings.environment)),
        ("confidential_computing", text(&settings.feature)),
        ("developer_tools", text(&settings.developer_tools)),
        ("multi_gpu", text(&settings.multi_gpu)),
        ("cpu", text(&settings.cpu)),
        ("gpus", text(&settings.gpus)),
        ("faults", array(&faults)),
    ])
}

fn error_object(error: &GpuError) -> String {
    object(&[("error", text(error))])
}

fn micros_number(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e6)
}

fn micros(duration: Duration) -> String {
    format!("{} µs", micros_number(duration))
}

/// A JSON string.
fn text<T: Display + ?Sized>(value: &T) -> String {
    let mut quoted = String::from("\"");
    for character in value.to_string().chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control < ' ' => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

fn object(members: &[(&str, String)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{}:{value}", text(name)))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn array(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}
