//! Time of one run of a TFLite model: the Accurate Simulator beside the instruction set simulator.
//!
//! `cargo run --release -p cnnip-accurate --example accurate_speed -- MODEL.tflite [RUNS]`

use std::error::Error;
use std::time::{Duration, Instant};

use cnnip_accurate::Simulator;
use cnnip_compiler::{Options, compile};
use cnnip_driver::Device;
use cnnip_graph::tflite::import_tflite;
use cnnip_isa::Target;
use cnnip_lowered::Network;

#[expect(clippy::print_stdout, reason = "an example prints")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: speed MODEL.tflite [RUNS]")?;
    let runs: usize = arguments.next().map_or(Ok(20), |runs| runs.parse())?;
    let target = Target::by_name("v4h").ok_or("v4h is a target")?;
    let graph = import_tflite(&std::fs::read(&path)?)?;
    let package = compile(&graph, &Options::new(target))?;
    let without = compile(&graph, &Options { lowered: false, ..Options::new(target) })?;
    println!("package {} bytes, {} without the lowered graph", package.to_bytes().len(), without.to_bytes().len());

    let started = Instant::now();
    let mut simulator = Simulator::new(Network::of_package(&package)?)?;
    println!("prepared in {:?}, {} bytes of tensors", started.elapsed(), simulator.memory_bytes());
    println!("accurate {:?}", best(runs, || simulator.run().map_err(Into::into))?);

    let mut session = Device::open(&package.target)?.load(package)?;
    for index in 0..graph.inputs.len() {
        let bytes = vec![0; graph[graph.inputs[index]].shape.elements() * graph[graph.inputs[index]].element.size()];
        session.bind(index, &bytes)?;
    }
    let mut session = Some(session);
    let iss = best(runs, || {
        let job =
            session.take().ok_or("the session comes back")?.submit().map_err(|not_ready| not_ready.to_string())?;
        session = Some(job.wait().map_err(|failed| failed.to_string())?.into_session());
        Ok(())
    })?;
    println!("iss      {iss:?}");
    Ok(())
}

/// Shortest time of some runs.
fn best(runs: usize, mut run: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let mut best = Duration::MAX;
    for _ in 0..runs {
        let started = Instant::now();
        run()?;
        best = best.min(started.elapsed());
    }
    Ok(best)
}
