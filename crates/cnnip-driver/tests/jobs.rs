//! Jobs as an application sees them.

use std::sync::{Arc, Mutex};

use cnnip_driver::{
    BindError, Checks, Device, Event, HostRegisterError, JobFault, LoadError, NoObserver, Package, RunOptions, Session,
    Status,
};
use cnnip_isa::{HostControl, HostStatus, host};
use cnnip_package::text::from_text;

/// Two device steps with a host step between them: `out[i] = dequantized(quantized(image[i]))`, through scratch memory.
const STEPS: &str = "
.region image input host
.region coded scratch
.region moved scratch
.region back output host
.region copy output
.tensor image float32 [4]
.tensor coded int8 [4] scale=0.5 zero=1
.tensor moved int8 [4] scale=0.5 zero=1
.tensor back float32 [4]
.tensor copy int8 [4]
.list first engine=dma0
    set SRC_PLACE KIND=dram REGION=1, SRC_ADDR 0, DST_PLACE KIND=dram REGION=2, DST_ADDR 0
    set RUN_BYTES 4, COUNT0 1, COUNT1 1, COUNT2 1, COUNT3 1
    mark 1
    int 7
    run COPY
    end
.endlist
.list second engine=dma1
    set SRC_PLACE KIND=dram REGION=2, SRC_ADDR 0, DST_PLACE KIND=dram REGION=4, DST_ADDR 0
    set RUN_BYTES 4, COUNT0 1, COUNT1 1, COUNT2 1, COUNT3 1
    run COPY
    end
.endlist
.layer 1 moving sources=[\"Identity\"]
.step host quantize image -> coded
.step device first
.step host dequantize moved -> back
.step device second
";

/// A list that runs for days.
const ENDLESS: &str = "
.region out output
.tensor out int8 [1]
.list dma1
    loop 65535
    loop 65535
    nop
    next
    next
    end
.endlist
";

/// Reports a trap.
const TRAP: &str = ".list dma0\n    nop\n    trap 9\n.endlist\n";

fn package(text: &str) -> Package {
    from_text(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn load(text: &str) -> Session {
    Device::open("v4h").unwrap().load(package(text)).unwrap()
}

fn floats(values: [f32; 4]) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn ready() -> Session {
    let mut session = load(STEPS);
    session.bind("image", &floats([0.0, 1.0, -1.0, 100.0])).unwrap();
    session
}

#[test]
fn host_and_device_steps_pass_tensors_on() {
    let outputs = ready().submit().unwrap().wait().unwrap();
    assert_eq!(outputs.get("copy").unwrap().to_vec::<i8>(), Ok(vec![1, 3, -1, 127]));
    assert_eq!(outputs.get(0).unwrap().to_vec::<f32>(), Ok(vec![0.0, 1.0, -1.0, 63.0]));
    assert_eq!(outputs.tensor("coded").unwrap().real(), Some(vec![0.0, 1.0, -1.0, 63.0]));
    assert_eq!(outputs.totals().commands, 6 + 4);
}

#[test]
fn a_session_runs_again_with_the_inputs_it_has() {
    let session = ready().submit().unwrap().wait().unwrap().into_session();
    let mut session = session.submit().unwrap().wait().unwrap().into_session();
    session.bind(0, &floats([2.0; 4])).unwrap();
    let outputs = session.submit().unwrap().wait().unwrap();
    assert_eq!(outputs.get("copy").unwrap().to_vec::<i8>(), Ok(vec![5; 4]));
}

#[test]
fn polls_and_steps_end_alike() {
    let whole = ready().submit().unwrap().wait().unwrap();
    let want = (whole.totals(), whole.get("copy").unwrap().to_vec::<i8>());
    for how in ["poll", "cycle", "command"] {
        let mut job = ready().submit().unwrap();
        let mut calls = 0;
        while job.status() == Status::Running {
            match how {
                "poll" => job.poll(3),
                "cycle" => job.step_cycle(&mut NoObserver),
                _ => job.step_command(&mut NoObserver),
            };
            calls += 1;
        }
        assert!(calls > 4, "{how} took {calls} calls");
        let outputs = job.wait().unwrap();
        assert_eq!((outputs.totals(), outputs.get("copy").unwrap().to_vec::<i8>()), want, "{how}");
    }
}

#[test]
fn a_poll_goes_no_further_than_asked() {
    let mut job = ready().submit().unwrap();
    assert_eq!(job.poll(0), Status::Running);
    assert_eq!(job.totals().cycles, 0);
    assert_eq!(job.poll(20), Status::Running);
    assert_eq!(job.totals().cycles, 20);
}

#[test]
fn a_saved_moment_comes_back() {
    let mut job = ready().submit().unwrap();
    job.poll(30);
    let saved = job.save();
    let state = job.state().clone();
    while job.poll(1000) == Status::Running {}
    job.restore(&saved);
    assert_eq!((job.status(), job.totals().cycles), (Status::Running, 30));
    assert_eq!(job.state().differences(&state), []);
    let outputs = job.wait().unwrap();
    assert_eq!(outputs.get("copy").unwrap().to_vec::<i8>(), Ok(vec![1, 3, -1, 127]));
}

#[test]
fn reset_starts_from_the_beginning() {
    let mut job = ready().submit().unwrap();
    job.poll(100);
    job.reset();
    assert_eq!((job.totals().cycles, job.state().cycle(), job.step()), (0, 0, 0));
    assert_eq!(job.state().region(2), Some(&[0; 4][..]));
    assert_eq!(job.wait().unwrap().get("copy").unwrap().to_vec::<i8>(), Ok(vec![1, 3, -1, 127]));
}

#[test]
fn an_abandoned_job_gives_its_session_back_and_a_dropped_one_frees_it() {
    let package = Arc::new(package(STEPS));
    let mut session = Device::open("v4h").unwrap().load(Arc::clone(&package)).unwrap();
    session.bind("image", &floats([1.0; 4])).unwrap();
    let mut job = session.submit().unwrap();
    job.poll(50);
    let mut job = job.abandon().submit().unwrap();
    assert_eq!(job.totals().cycles, 0);
    job.poll(50);
    drop(job);
    assert_eq!(Arc::strong_count(&package), 1);
}

#[test]
fn inputs_must_be_bound_and_fit() {
    let not_ready = load(STEPS).submit().unwrap_err();
    assert_eq!(not_ready.to_string(), "input `image` has not been bound");
    let mut session = not_ready.session;
    let unknown = session.bind("picture", &[]).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no input `picture`, only image");
    let length = session.bind("image", &[1, 2, 3]).unwrap_err();
    assert_eq!(length, BindError::Length { tensor: "image".into(), needed: 16, given: 3 });
    assert!(session.bind(1, &[]).is_err());
}

#[test]
fn a_package_must_fit_the_device() {
    let wrong = Device::open("v3m").unwrap().load(package(STEPS)).unwrap_err();
    assert_eq!(wrong, LoadError::Target { package: "v4h".into(), device: "v3m" });
    let large = Device::open("v4h").unwrap().with_memory(10).load(package(STEPS)).unwrap_err();
    assert_eq!(large.to_string(), "inputs, outputs and scratch need 44 bytes, the device has 10");
    assert_eq!(Device::open("v9").unwrap_err().to_string(), "there is no target `v9`, only v3m, v3h, v3u, v4h");
    let mut broken = package(STEPS);
    broken.regions[1].bytes = 1;
    assert!(matches!(Device::open("v4h").unwrap().load(broken), Err(LoadError::Invalid { .. })));
}

#[test]
fn interrupts_reach_the_handler_unless_masked() {
    for (mask, want) in [
        (
            HostStatus::empty(),
            vec![Event::Started { core: 0 }, Event::Interrupt { core: 0, code: 7 }, Event::Started { core: 0 }],
        ),
        (HostStatus::RUNNING, vec![Event::Interrupt { core: 0, code: 7 }]),
        (HostStatus::INTERRUPT | HostStatus::RUNNING, vec![]),
    ] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut session = ready();
        let log = Arc::clone(&seen);
        session.on_event(move |event| log.lock().unwrap().push(event));
        let mut job = session.submit().unwrap();
        job.host_write(host::INTERRUPT_MASK, mask.bits()).unwrap();
        while job.poll(10) == Status::Running {}
        assert_eq!(*seen.lock().unwrap(), want);
        assert_eq!(job.host_read(host::INTERRUPT_CODE), Ok(7), "the code is there, masked or not");
    }
}

#[test]
fn host_registers_show_the_real_state() {
    let mut job = ready().submit().unwrap();
    let status = |job: &cnnip_driver::Job| HostStatus::from_bits(job.host_read(host::STATUS).unwrap()).unwrap();
    assert_eq!(job.host_read(host::TARGET_ID), Ok(4));
    assert_eq!(status(&job), HostStatus::empty());
    assert_eq!(job.host_write(host::CONTROL, HostControl::START.bits()), Err(HostRegisterError::NothingToStart));
    job.step_cycle(&mut NoObserver); // the host step
    job.host_write(host::CONTROL, HostControl::START.bits()).unwrap();
    assert_eq!(status(&job), HostStatus::RUNNING);
    job.poll(20);
    assert_eq!(status(&job), HostStatus::RUNNING | HostStatus::INTERRUPT);
    assert_eq!((job.host_read(host::CYCLE_LOW), job.host_read(host::CYCLE_HIGH)), (Ok(20), Ok(0)));
    job.host_write(host::STATUS_CLEAR, HostStatus::all().bits()).unwrap();
    assert_eq!(status(&job), HostStatus::RUNNING);
    assert_eq!((job.host_read(host::LIST_BASE), job.host_read(host::LIST_WORDS)), (Ok(0), Ok(15)));
    assert_eq!((job.host_read(host::LIST_BASE + 4), job.host_read(host::LIST_WORDS + 4)), (Ok(0), Ok(0)));
    assert_eq!(job.host_read(host::REGION_BYTES), Ok(0), "the host's own region is not bound");
    assert_eq!((job.host_read(host::REGION_BASE + 8), job.host_read(host::REGION_BYTES + 8)), (Ok(3), Ok(4)));
    while job.poll(1000) == Status::Running {}
    assert_eq!(status(&job), HostStatus::DONE);
    job.host_write(host::CONTROL, HostControl::SOFT_RESET.bits()).unwrap();
    assert_eq!((status(&job), job.status()), (HostStatus::empty(), Status::Running));
}

#[test]
fn host_registers_refuse_what_they_are_not_for() {
    let mut job = ready().submit().unwrap();
    for offset in [0x1000, 0x030, 0x05c, 0x002, 0x280, u32::MAX] {
        assert_eq!(job.host_read(offset), Err(HostRegisterError::NoRegister { offset }));
        assert_eq!(job.host_write(offset, 0), Err(HostRegisterError::NoRegister { offset }));
    }
    assert_eq!(job.host_read(host::CONTROL), Err(HostRegisterError::WriteOnly { offset: host::CONTROL }));
    assert_eq!(job.host_write(host::FAULT, 0), Err(HostRegisterError::ReadOnly { offset: host::FAULT }));
    assert_eq!(job.host_write(host::REGION_BASE, 0), Err(HostRegisterError::Owned { offset: host::REGION_BASE }));
    let reserved = HostRegisterError::ReservedBits { offset: host::CONTROL, value: 4 };
    assert_eq!(job.host_write(host::CONTROL, 4), Err(reserved));
}

#[test]
fn a_trap_is_an_event_and_a_fault() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut session = load(TRAP);
    let log = Arc::clone(&seen);
    session.on_event(move |event| log.lock().unwrap().push(event));
    let failed = session.submit().unwrap().wait().unwrap_err();
    assert_eq!(*seen.lock().unwrap(), [Event::Started { core: 0 }, Event::Trap { core: 0, code: 9 }]);
    let job = failed.job;
    assert_eq!(job.host_read(host::STATUS), Ok((HostStatus::TRAP | HostStatus::FAULT).bits()));
    let registers = [host::FAULT, host::FAULT_PC, host::FAULT_ENGINE, host::INTERRUPT_CODE];
    assert_eq!(registers.map(|offset| job.host_read(offset).unwrap()), [16, 1, 0, 9]);
    let report = job.report().unwrap();
    assert_eq!((report.name, report.command.unwrap().text), ("Trap", "trap 9".to_owned()));
}

#[test]
fn budgets_are_those_of_the_whole_job() {
    let mut session = ready();
    session.set_options(RunOptions { max_commands: Some(7), ..RunOptions::default() });
    let failed = session.submit().unwrap().wait().unwrap_err();
    assert!(matches!(&failed.fault, JobFault::Device { step: 3, .. }), "{failed}");
    assert_eq!(failed.job.totals().commands, 7);
}

#[test]
fn an_output_left_out_is_a_fault_in_checked_mode() {
    let text = ".region out output\n.tensor out int8 [8]\n.list dma0\n    end\n.endlist\n";
    let failed = load(text).submit().unwrap().wait().unwrap_err();
    assert_eq!(failed.fault, JobFault::OutputNotWritten { tensor: "out".into(), byte: 0 });
    let mut session = failed.job.abandon();
    session.set_options(RunOptions { checks: Checks::NONE, ..RunOptions::default() });
    assert_eq!(session.submit().unwrap().wait().unwrap().get(0).unwrap().bytes(), [0; 8]);
}

#[test]
fn a_job_may_have_a_thread_of_its_own_and_be_stopped() {
    let outputs = ready().submit().unwrap().spawn().unwrap().join().unwrap();
    assert_eq!(outputs.get("copy").unwrap().to_vec::<i8>(), Ok(vec![1, 3, -1, 127]));

    let mut session = load(ENDLESS);
    session.set_options(RunOptions {
        max_commands: Some(u64::MAX),
        max_cycles: Some(u64::MAX),
        ..RunOptions::default()
    });
    let running = session.submit().unwrap().spawn().unwrap();
    assert!(!running.is_finished());
    running.stop();
    let failed = running.join().unwrap_err();
    assert_eq!(failed.fault, JobFault::Stopped);
    assert_eq!(failed.job.status(), Status::Running, "it could go on");
}

#[test]
fn an_endless_program_ends_by_default() {
    let failed = load(ENDLESS).submit().unwrap().wait().unwrap_err();
    assert_eq!(failed.job.report().unwrap().name, "Budget");
}

#[test]
fn many_devices_work_side_by_side() {
    let package = Arc::new(package(STEPS));
    let jobs: Vec<_> = (0..8_u8)
        .map(|number| {
            let mut session = Device::open("v4h").unwrap().load(Arc::clone(&package)).unwrap();
            session.bind("image", &floats([number.into(); 4])).unwrap();
            session.submit().unwrap().spawn().unwrap()
        })
        .collect();
    for (number, job) in (0_i8..).zip(jobs) {
        assert_eq!(job.join().unwrap().get("copy").unwrap().to_vec::<i8>(), Ok(vec![2 * number + 1; 4]));
    }
}
