//! The text form: what is printed assembles to the same bytes, and what a person writes may be short.

mod common;

use cnnip_package::text::{DEFAULT_BUDGET, from_text, to_text};
use cnnip_package::{Engine, EngineId, ListId, Package, RegionId, RegionKind, Step};
use common::{any_package, sample};
use proptest::collection::vec;
use proptest::prelude::*;

/// The example of the specification: the block in `isa-spec/package.md` that begins with this line.
const EXAMPLE: &str = "; copies an image";

fn specification() -> &'static str {
    include_str!("../../../isa-spec/package.md")
}

fn example() -> &'static str {
    let text = specification();
    let start = text.find(EXAMPLE).expect("the specification has the example");
    let length = text[start..].find("```").expect("the example ends");
    &text[start..start + length]
}

/// The messages of everything that is wrong with a text.
fn wrong(text: &str) -> Vec<String> {
    let problems = from_text(text).expect_err(text);
    problems.iter().map(|found| format!("{}:{} {}", found.line, found.column, found.message)).collect()
}

#[test]
fn a_text_that_says_nothing_is_no_package() {
    for text in ["", "\n\n", "; only a comment\n"] {
        assert_eq!(wrong(text), ["1:1 the text has no directive"]);
    }
}

#[test]
fn the_sample_comes_back_from_text() {
    let text = to_text(&sample());
    let package = from_text(&text).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
    assert_eq!(package, sample());
    assert_eq!(package.to_bytes(), sample().to_bytes());
}

#[test]
fn the_sample_reads_well() {
    let text = to_text(&sample());
    for line in [
        ".provenance note \"two\\u{a}lines \\\"quoted\\\"\"",
        ".region image input bytes=256",
        ".constant table",
        "    .bytes 09080706 05",
        ".tensor logits int8 [1, 10] region=logits offset=0 scale=0.3333333333333333 zero=-3",
        ".input input height=8 width=8 layout=nhwc color=gray pixel_offset=-128",
        ".token 3 dma0 -> cnn",
        ".step device load compute",
        ".step host softmax logits -> probabilities beta=0.1",
        ".layer 1 fc macs=640 sources=[\"MatMul\", \"Add\"]",
    ] {
        assert!(text.lines().any(|found| found == line), "no line `{line}` in\n{text}");
    }
}

#[test]
fn the_example_of_the_specification_assembles() {
    let package = from_text(example()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(example().trim_end().lines().count() <= 20, "the example is short");
    assert_eq!(package.budget, DEFAULT_BUDGET);
    assert_eq!(package.regions.iter().map(|region| region.bytes).collect::<Vec<_>>(), [64, 64]);
    assert_eq!((package.inputs.len(), package.outputs.len()), (1, 1));
    assert_eq!(package.program, [Step::Device { lists: vec![ListId(0)] }]);
    assert_eq!(package.lists[0].engine, EngineId { core: 0, engine: Engine::Dma0 });
    assert_eq!(Package::read(&package.to_bytes()), Ok(package));
}

#[test]
fn what_is_left_out_follows_from_the_rest() {
    let package = from_text(
        "; forward references are fine\n\
         .input b\n\
         .tensor a int8 [10] region=r\n\
         .tensor b int16 [3] region=r scale=0.5\n\
         .tensor c float32 [2] region=r offset=400\n\
         .region r input\n\
         .constant k\n.i8 1\n.align 4\n.i8 2\n",
    )
    .unwrap();
    assert_eq!(package.target, "v4h");
    assert_eq!(package.tensors.iter().map(|tensor| tensor.place.offset).collect::<Vec<_>>(), [0, 64, 400]);
    assert_eq!((package.regions[0].kind, package.regions[0].bytes), (RegionKind::Input, 408));
    assert_eq!(package.constant(RegionId(1)).unwrap()[..], [1, 0, 0, 0, 2]);
    assert_eq!(package.inputs.len(), 1);
}

#[test]
fn everything_wrong_is_found_at_once() {
    let mut problems = wrong(
        ".taget v4h\n\
         .region r inptu\n\
         .tensor t int8 [1]\n\
         .list dma0\n    bogus\n.endlist\n\
         .output nowhere extra\n\
         .i8 1\n\
         .list x\nend\n",
    );
    let command = problems.remove(3);
    assert!(command.starts_with("5:5 ") && command.contains("bogus"), "the assembler's words: {command}");
    assert_eq!(
        problems,
        [
            "1:1 unknown directive `.taget`",
            "2:11 `inptu` is unknown here",
            "3:9 no region for tensor `t`",
            "7:9 there is no tensor `nowhere`",
            "8:1 no region to put the data in",
            "9:1 the list has no end",
            "9:7 no engine for list `x`",
        ]
    );
}

#[test]
fn problems_of_the_package_are_shown_in_their_lines() {
    let problems = wrong(".target v9\n.region r input bytes=1\n.tensor t int8 [2] region=r\n.token 200 dma0 -> cnn\n");
    assert_eq!(
        problems,
        [
            "1:9 target `v9`: the target is unknown [target]",
            "3:9 tensor `t`: bytes 0 to 2 leave the region's 1 [outside-region]",
            "4:1 token owner 0: token 200 does not exist, the last is 127 [token]",
        ]
    );
}

#[test]
fn a_diagnostic_shows_the_line() {
    let problems = from_text(".region r input\n.tensor \"a b\" int9 [1] ; why").unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "line 2, column 15: `int9` is unknown here\n  \
         2 | .tensor \"a b\" int9 [1] ; why\n    \
         |               ^^^^\n  \
         hint: one of int8, uint8, int16, int32, int64, float32"
    );
}

#[test]
fn names_like_keywords_are_names() {
    let mut package = sample();
    package.regions[0].name = "host".into();
    package.regions[1].name = "->".into();
    package.lists[1].name = "sram".into();
    package.tensors[1].name = "->".into();
    package.tensors[0].name = "raw".into();
    assert_eq!(from_text(&to_text(&package)), Ok(package));
}

/// Words that often are commands.
fn words() -> impl Strategy<Value = Vec<u32>> {
    let opcode = prop::sample::select(vec![0x0100_0000, 0x0200_0000, 0x2000_0001, 0x3200_0004, 0x1001_0002]);
    vec(prop_oneof![opcode, any::<u32>()], 1..12)
}

proptest! {
    #[test]
    fn assembling_inverts_disassembling(package in any_package(words())) {
        let text = to_text(&package);
        match from_text(&text) {
            Ok(read) => prop_assert_eq!(read.to_bytes(), package.to_bytes(), "{}", text),
            Err(problems) => prop_assert!(false, "{:#?}\n{}", problems, text),
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = from_text(&text);
    }

    #[test]
    fn damaged_text_never_panics(at in any::<prop::sample::Index>(), with in "[ -~\n]{0,3}", length in 0_usize..5) {
        let mut letters: Vec<char> = to_text(&sample()).chars().collect();
        let at = at.index(letters.len());
        let end = (at + length).min(letters.len());
        letters.splice(at..end, with.chars());
        let _ = from_text(&letters.into_iter().collect::<String>());
    }
}
