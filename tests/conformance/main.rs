//! Law: the machine does what the specification says, statement by statement.
//!
//! Every file of `vectors/` is a paragraph of the specification: statements, each with programs and what they must lead to.
//! `README.md` describes the text and counts the vectors. Every vector runs in every mode of execution, and a second, slow
//! machine (`slow.rs`) must end it in the same state.

#![forbid(unsafe_code)]

mod families;
mod format;
mod slow;
mod vector;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{LazyLock, OnceLock};

use format::Statement;

/// What the vectors must come to, and how many of them must fault.
const LEAST: (usize, usize) = (2_000, 1_000);

/// A file of statements with its text and title.
struct Paragraph {
    file: &'static str,
    title: &'static str,
    text: &'static str,
    read: OnceLock<Vec<Statement>>,
}

impl Paragraph {
    const fn new(file: &'static str, title: &'static str, text: &'static str) -> Self {
        Self { file, title, text, read: OnceLock::new() }
    }

    fn statements(&self) -> &[Statement] {
        self.read.get_or_init(|| format::read(self.file, self.text))
    }

    /// Runs every vector, and reports all that go wrong.
    fn check(&self) {
        let vectors = self.statements().iter().flat_map(|statement| &statement.vectors);
        let mut wrong = String::new();
        for vector in vectors {
            let problems = vector.problems();
            if !problems.is_empty() {
                let _ = writeln!(wrong, "\n{}\n  {}", vector.name, problems.join("\n  "));
            }
        }
        assert!(wrong.is_empty(), "{}{wrong}", self.file);
    }
}

/// A test for each paragraph, so that they run side by side.
macro_rules! paragraphs {
    ($($name:ident $title:literal,)*) => {
        static PARAGRAPHS: LazyLock<Vec<Paragraph>> = LazyLock::new(|| vec![$(Paragraph::new(
            concat!(stringify!($name), ".txt"),
            $title,
            include_str!(concat!("vectors/", stringify!($name), ".txt")),
        )),*]);

        $(#[test]
        fn $name() {
            let file = concat!(stringify!($name), ".txt");
            PARAGRAPHS.iter().filter(|paragraph| paragraph.file == file).for_each(Paragraph::check);
        })*
    };
}

paragraphs! {
    lists "Engines and lists",
    registers "Registers",
    control "Control flow",
    tokens "Tokens",
    order "Order",
    races "Races",
    time "Time",
    addresses "Addresses",
    operations "CNN operations",
    dma "DMA operations",
    types "Types",
    accumulators "Accumulators",
    requantization "Requantization",
    layouts "Layouts",
    sparse "Sparse and coded weights",
    cores "Several cores",
    faults "Faults",
    targets "Targets",
}

fn page() -> String {
    let mut table = String::new();
    let (mut all, mut faults) = (0, 0);
    for paragraph in PARAGRAPHS.iter() {
        let _ = writeln!(table, "\n## {}\n\n[{1}](vectors/{1})\n", paragraph.title, paragraph.file);
        let _ = writeln!(table, "| statement | | vectors | of them faults |\n|---|---|---:|---:|");
        for Statement { id, sentence, vectors } in paragraph.statements() {
            let faulty = vectors.iter().filter(|vector| vector.faults()).count();
            let _ = writeln!(table, "| `{id}` | {sentence} | {} | {faulty} |", vectors.len());
            all += vectors.len();
            faults += faulty;
        }
    }
    let head = include_str!("head.md");
    format!("{head}\n**{all} vectors, {faults} of them programs that must fault.**\n{table}")
}

#[test]
fn every_statement_has_vectors_and_the_page_counts_them() {
    let statements = || PARAGRAPHS.iter().flat_map(Paragraph::statements);
    let bare: Vec<&str> = statements().filter(|s| s.vectors.is_empty()).map(|s| s.id.as_str()).collect();
    assert_eq!(bare, [""; 0], "statements without a vector");
    let vectors: Vec<_> = statements().flat_map(|statement| &statement.vectors).collect();
    let faults = vectors.iter().filter(|vector| vector.faults()).count();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/README.md");
    let page = page();
    if std::env::var_os("UPDATE_CONFORMANCE").is_some() {
        std::fs::write(&path, &page).expect("a page that can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "README.md is stale: UPDATE_CONFORMANCE=1 cargo test --test conformance");
    assert!(vectors.len() >= LEAST.0 && faults >= LEAST.1, "{} vectors, {faults} faults", vectors.len());
}
