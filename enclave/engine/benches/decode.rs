//! Tokens per second of the committed model, beside a plain read of its weights.
//!
//! Owns no claim: it prints what this machine does. The named peer is the sum
//! over all weights a token reads, by one thread, in the same run: for a model
//! that fits no cache, no decoder can be faster than the machine reads.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use bastide_engine::{Input, LoadOptions, Model, Rows, Scratch};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn decode(c: &mut Criterion) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/bastide-5m");
    let model = Model::load(&dir, &LoadOptions::default()).expect("the committed model loads");
    let ids: Vec<u32> = (0..257u32).map(|i| 6 + i * 7 % 2_000).collect();

    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(1));
    for depth in [0, 256] {
        let (mut cache, mut scratch) = (model.new_cache(512), Scratch::new());
        if depth > 0 {
            let prompt = Input::Ids(&ids[..depth]);
            model
                .forward_rows(prompt, 0, Rows::Last, &mut cache, &mut scratch)
                .expect("it fits");
        }
        group.bench_function(BenchmarkId::new("decode", depth), |b| {
            b.iter(|| {
                let input = Input::Ids(&ids[depth..=depth]);
                black_box(
                    model
                        .forward_rows(input, depth, Rows::Last, &mut cache, &mut scratch)
                        .is_ok(),
                )
            });
        });
    }
    group.throughput(Throughput::Elements(128));
    let (mut cache, mut scratch) = (model.new_cache(512), Scratch::new());
    group.bench_function("prefill/128", |b| {
        b.iter(|| {
            let input = Input::Ids(&ids[..128]);
            black_box(
                model
                    .forward_rows(input, 0, Rows::Last, &mut cache, &mut scratch)
                    .is_ok(),
            )
        });
    });
    group.throughput(Throughput::Bytes(
        u64::try_from(model.bytes_per_token()).expect("a size fits"),
    ));
    group.bench_function("peer: read of the weights", |b| {
        b.iter(|| black_box(model.read_weights()));
    });
    group.finish();
    ratio(&model, &ids);
}

/// Decode against the read of the weights, in turns so that both see the same machine.
fn ratio(model: &Model, ids: &[u32]) {
    let (mut cache, mut scratch) = (model.new_cache(512), Scratch::new());
    let (mut decoding, mut reading) = (Duration::MAX, Duration::MAX);
    for _ in 0..200 {
        let start = Instant::now();
        let output = model.forward_rows(Input::Ids(&ids[..1]), 0, Rows::Last, &mut cache, &mut scratch);
        black_box(output.is_ok());
        decoding = decoding.min(start.elapsed());
        let start = Instant::now();
        black_box(model.read_weights());
        reading = reading.min(start.elapsed());
    }
    println!(
        "engine tier {}: best decode step {decoding:?}, best single-threaded read of its {} bytes {reading:?}: {:.2} of the read's speed",
        model.tier().name(),
        model.bytes_per_token(),
        reading.as_secs_f64() / decoding.as_secs_f64(),
    );
}

criterion_group!(benches, decode);
criterion_main!(benches);
