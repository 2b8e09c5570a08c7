//! The assembler as its users see it.

use super::{assemble, assemble_str};
use crate::engine::EngineKind;
use crate::generated::Opcode;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, proptest};
use proptest::sample::select;

/// The prose whose examples must assemble.
const PROSE: &str = include_str!("../../../../isa-spec/commands.md");

#[test]
fn text_becomes_words() {
    use EngineKind::{Cnn, Dma};
    let cases: [(&str, EngineKind, &[u32]); 18] = [
        ("", Cnn, &[]),
        ("  ; only a comment", Cnn, &[]),
        ("nop\nend", Dma, &[0x0100_0000, 0x0200_0000]),
        ("set IN_ADDR 0x100", Cnn, &[0x1001_0001, 0x100]),
        ("set IN_SIZE W=8 H=9", Cnn, &[0x1001_0002, 0x0009_0008]),
        ("set FORMAT OUT=int16 IN=int8", Cnn, &[0x1001_0000, 0x301]),
        ("set IN_ADDR 0x100, 0x00080008, 16", Cnn, &[0x1003_0001, 0x100, 0x0008_0008, 16]),
        ("set IN_ADDR 1, IN_SIZE W=1, IN_C 3", Cnn, &[0x1003_0001, 1, 1, 3]),
        ("set IN_ZERO -128", Cnn, &[0x1001_0006, 0xffff_ff80]),
        ("set OUT_MULT 1.5f", Cnn, &[0x1001_0029, 0x3fc0_0000]),
        ("set SRC_PLACE KIND=dram REGION=3", Dma, &[0x1001_0000, 0x301]),
        ("run COPY", Dma, &[0x1100_0040]),
        ("signal 3\nwait 64 2", Cnn, &[0x2000_0003, 0x2100_0240]),
        ("call there\nend\nthere: ret", Cnn, &[0x3000_0002, 0x0200_0000, 0x3100_0000]),
        ("here:\nthere: call 7", Cnn, &[0x3000_0007]),
        ("loop 4\nnext", Cnn, &[0x3200_0004, 0x3300_0000]),
        ("next IN_ADDR=+64, OUT_ADDR=-1", Cnn, &[0x3302_0000, 1, 64, 16, 0xffff_ffff]),
        (".word 0xffff_ffff\nmark 2\nint 7\ntrap 1", Cnn, &[u32::MAX, 0x4000_0002, 0x5000_0007, 0x5100_0001]),
    ];
    for (text, engine, words) in cases {
        assert_eq!(assemble_str(text, engine).as_deref(), Ok(words), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let cases = [
        ("sett IN_ADDR 1", "1: no command `sett`", Some("did you mean `set`?")),
        ("RUN CONV", "1: no command `RUN`", Some("did you mean `run`?")),
        ("run CONF", "5: no operation `CONF`", Some("did you mean `CONV`?")),
        ("run COPY", "5: COPY is an operation of the dma engine", Some("this is a list of a cnn engine")),
        ("set", "1: too little, `set REGISTER VALUE`", None),
        ("set IN_ADDR", "5: a value for IN_ADDR is missing", None),
        ("set IN_ADDR 1,", "15: a value for IN_SIZE is missing", None),
        ("set IN_ADDR -1", "13: -1 is not within 0 to 4294967295", None),
        ("set IN_ZERO 2147483648", "13: 2147483648 is not within -2147483648 to 2147483647", None),
        ("set IN_ADDR 1x", "13: `1x` is not a number of 32 bits", None),
        ("set IN_SIZE V=1", "13: IN_SIZE has no field `V`", Some("did you mean `W`?")),
        ("set IN_SIZE WIDE=1", "13: IN_SIZE has no field `WIDE`", Some("its fields are W, H")),
        ("set IN_SIZE W=65536", "15: W = 65536 is not within 0 to 65535", None),
        ("set IN_SIZE W=1 W=2", "17: W is given twice", None),
        (
            "set PAD 0x10000",
            "9: PAD = 0x00010000 sets reserved bits, only 0x0000ffff may be set",
            Some("to test the fault, write the command with `.word`"),
        ),
        ("set POOL COUNT_PAD=yes", "20: `yes` is not a number of 32 bits", None),
        (
            "set W_MODE LAYOUT=sparse",
            "19: LAYOUT cannot be `sparse`",
            Some("its values are dense8, dense16, depthwise"),
        ),
        (
            "set IN_ADDR 1, IN_C 2",
            "16: IN_C does not follow IN_ADDR in the register file",
            Some("begin another `set` line"),
        ),
        ("set BROADCAST 1, 2", "18: no register follows BROADCAST", None),
        ("signal 128", "8: TOKEN = 128 is not within 0 to 127", None),
        ("wait 3", "1: too little, `wait TOKEN COUNT`", None),
        ("wait 3 1 1", "10: too much, `wait TOKEN COUNT`", None),
        ("call nowhere", "6: no label `nowhere`", None),
        ("next IN_ADDR", "6: not `REGISTER=INCREMENT`", None),
        ("next IN_ADR=1", "6: the cnn engine has no register `IN_ADR`", Some("did you mean `IN_ADDR`?")),
        ("1st: end", "1: a label is a letter or `_`, then letters, digits and `_`", None),
        (".word", "6: a number is missing", None),
    ];
    for (text, message, hint) in cases {
        let problems = assemble_str(text, EngineKind::Cnn).expect_err(text);
        let said: Vec<String> = problems.iter().map(|one| format!("{}: {}", one.column, one.message)).collect();
        assert_eq!(said, [message], "{text}");
        assert_eq!(problems[0].hint.as_deref(), hint, "{text}");
    }
}

#[test]
fn all_problems_are_shown_at_once_with_their_lines() {
    let lines = ["end", "again: set IN_ADDR x, IN_SIZE W=8 Q=1 ; twice wrong", "again: end", "", "call agin"];
    let problems = assemble((10..).zip(lines), EngineKind::Cnn).unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown.join("\n"),
        "\
line 11, column 20: `x` is not a number of 32 bits
  11 | again: set IN_ADDR x, IN_SIZE W=8 Q=1 ; twice wrong
     |                    ^
line 11, column 35: IN_SIZE has no field `Q`
  11 | again: set IN_ADDR x, IN_SIZE W=8 Q=1 ; twice wrong
     |                                   ^
  hint: did you mean `W`?
line 12, column 1: label `again` is defined already, in line 11
  12 | again: end
     | ^^^^^
line 14, column 6: no label `agin`
  14 | call agin
     |      ^^^^
  hint: did you mean `again`?"
    );
}

#[test]
fn long_lines_and_endless_problems_are_bounded() {
    let long = format!("nop ; {}", "x".repeat(20_000));
    let problems = assemble_str(&long, EngineKind::Cnn).unwrap_err();
    assert_eq!(problems[0].message, "a line has at most 16384 bytes, this one has 20006");
    assert!(problems[0].to_string().len() < 400);
    let endless = "what\n".repeat(10_000);
    assert_eq!(assemble_str(&endless, EngineKind::Cnn).unwrap_err().len(), super::MAX_PROBLEMS);
}

#[test]
fn the_examples_of_the_prose_assemble() {
    let mut count = 0;
    for (info, example) in examples(PROSE) {
        let engine = if info.ends_with("dma") { EngineKind::Dma } else { EngineKind::Cnn };
        let problems: Vec<String> =
            assemble_str(example, engine).err().unwrap_or_default().iter().map(ToString::to_string).collect();
        assert_eq!(problems.join("\n"), "", "{example}");
        count += 1;
    }
    assert!(count >= 5, "only {count} examples found");
}

#[test]
fn the_prose_names_every_command() {
    for opcode in Opcode::ALL {
        let mnemonic = opcode.name().to_ascii_lowercase();
        assert!(PROSE.contains(&mnemonic), "{mnemonic}");
    }
}

/// Code blocks whose language begins with `asm`.
fn examples(prose: &str) -> impl Iterator<Item = (&str, &str)> {
    let blocks = prose.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.split_once('\n')).filter(|(info, _)| info.starts_with("asm"))
}

fn any_text() -> impl Strategy<Value = String> {
    let part = select(vec![
        "set ", "next ", "run ", "call ", "loop ", "IN_ADDR", "IN_SIZE", "W", "CONV", "=", ",", ":", ";", " ", "\n",
        "\t", "0x", "-", "+", "1.5f", "12", "_", ".word ", "é", "\u{0}",
    ]);
    vec(part, 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn no_text_is_too_wrong(text in any_text(), more in any::<String>()) {
        for text in [&text, &more] {
            for problem in assemble_str(text, EngineKind::Cnn).err().unwrap_or_default() {
                assert!(!problem.to_string().is_empty());
            }
        }
    }
}
