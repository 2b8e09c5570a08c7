//! Intermediate tensors of a run, wherever their bytes are.

use cnnip_driver::{Device, RecordError, Recording, Session, Status};
use cnnip_package::text::from_text;

/// Both rows of `staged` are at the same place of the scratchpad, one after the other.
const ROWS: &str = "
.region image input
.region out output
.tensor image int8 [2, 4]
.tensor out int8 [2, 4]
.list dma0
    set SRC_PLACE KIND=dram REGION=0, SRC_ADDR 0, DST_PLACE KIND=sram REGION=0, DST_ADDR 0
    set RUN_BYTES 4, COUNT0 1, COUNT1 1, COUNT2 1, COUNT3 1
    mark 7
    loop 2
    run COPY
    next SRC_ADDR=+4
    set SRC_PLACE KIND=dram REGION=0, SRC_ADDR 0, DST_PLACE KIND=dram REGION=1, DST_ADDR 0
    set RUN_BYTES 8
    run COPY
    end
.endlist
.layer 7 staging
.tiles
.traced seen int8 [2, 4] tensor=image
.traced staged int8 [2, 4]
.traced flat int8 [8] alias=staged
.traced gone int8 [1] fused=[staging]
.tile dma0 staged pc=13 iteration=[0] start=[0, 0] size=[1, 4] step=[1, 1] sram address=0 strides=[4, 1]
.tile dma0 staged pc=13 iteration=[1] start=[1, 0] size=[1, 2] step=[1, 2] sram address=0 strides=[4, 2]
.tile dma0 staged pc=13 iteration=[1] start=[1, 1] size=[1, 2] step=[1, 2] sram address=1 strides=[4, 2]
";

const IMAGE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn session() -> Session {
    let mut session = Device::open("v4h").unwrap().load(from_text(ROWS).unwrap()).unwrap();
    session.bind("image", &IMAGE).unwrap();
    session
}

#[test]
fn tensors_are_rebuilt_from_a_place_that_is_used_again() {
    let mut session = session();
    assert_eq!(Recording::names(session.package()), ["seen", "staged", "flat"]);
    session.record(&["flat", "seen"]).unwrap();
    let mut job = session.submit().unwrap();
    while job.step_cycle(&mut cnnip_driver::NoObserver) == Status::Running {}
    let outputs = job.wait().unwrap();
    let recording = outputs.recording().unwrap();
    let found: Vec<_> = recording.iter().map(|found| (found.tensor.name.as_str(), found.bytes)).collect();
    assert_eq!(found, [("seen", &IMAGE[..]), ("flat", &IMAGE[..])], "in the order of completion");
    let write = recording.writer("flat", 6).unwrap();
    assert_eq!((write.tile.iteration.as_slice(), write.tile.start.as_slice()), (&[1][..], &[1, 0][..]));
    let first = recording.writer("flat", 0).unwrap();
    assert!(first.end <= write.start && first.start < first.end);
    assert_eq!(recording.command(&write).unwrap().text, "run COPY");
    assert_eq!(recording.layer(&write).unwrap().name, "staging");
    assert!(recording.writer("seen", 0).is_none(), "the application gave it");
}

#[test]
fn a_second_job_records_anew() {
    let mut session = session();
    session.record(&["staged"]).unwrap();
    let mut session = session.submit().unwrap().wait().unwrap().into_session();
    let other = IMAGE.map(|byte| byte + 100);
    session.bind("image", &other).unwrap();
    let outputs = session.submit().unwrap().wait().unwrap();
    assert_eq!(outputs.recording().unwrap().tensor("staged").unwrap().bytes, other);
}

#[test]
fn what_cannot_be_recorded_says_why() {
    let mut session = session();
    let said = |session: &mut Session, name| session.record(&[name]).unwrap_err().to_string();
    assert_eq!(said(&mut session, "stagde"), "the network has no tensor `stagde`; did you mean `staged`?");
    assert_eq!(said(&mut session, "gone"), "tensor `gone` is never made: layer `staging` does without it");
    let plain = from_text(&ROWS[..ROWS.find(".tiles").unwrap()]).unwrap();
    let mut plain = Device::open("v4h").unwrap().load(plain).unwrap();
    assert_eq!(plain.record(&["staged"]), Err(RecordError::NoTileMap));
}
