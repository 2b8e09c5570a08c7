//! What a schema cannot say: names that must exist, numbers that must be unique, bits that must not overlap.

use super::schema::{
    Engine, EnumValue, Enumeration, Field, HostRegister, Operation, Register, Spec, Target, TargetKey,
};
use super::text::camel_case;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::hash::Hash;

/// Every broken rule, each with its file and key.
pub(crate) fn check(spec: &Spec) -> Vec<String> {
    let mut checker = Checker { spec, problems: Vec::new() };
    checker.types();
    checker.faults();
    checker.commands();
    checker.operations();
    for engine in Engine::ALL {
        checker.registers(engine);
    }
    checker.host();
    checker.target_keys();
    checker.targets();
    checker.problems
}

struct Checker<'a> {
    spec: &'a Spec,
    problems: Vec<String>,
}

impl Checker<'_> {
    fn report(&mut self, place: impl Display, rule: impl Display) {
        self.problems.push(format!("isa-spec/{place}: {rule}"));
    }

    /// Reports every value that occurs twice.
    fn unique<T: Eq + Hash + Display>(&mut self, place: &str, what: &str, values: impl Iterator<Item = T>) {
        let mut seen: HashMap<T, usize> = HashMap::new();
        for value in values {
            let count = seen.entry(value).or_default();
            *count += 1;
        }
        let mut twice: Vec<String> =
            seen.iter().filter(|(_, count)| **count > 1).map(|(value, _)| value.to_string()).collect();
        twice.sort();
        for value in twice {
            self.report(place, format!("{what} {value} occurs more than once"));
        }
    }

    /// Reports names that are not unique, or are not once they are Rust names.
    fn names<'n>(&mut self, place: &str, names: impl Iterator<Item = &'n str>) {
        self.unique(place, "name", names.map(camel_case));
    }

    fn types(&mut self) {
        let spec = self.spec;
        self.unique("types.toml", "enum", spec.types.enumerations.iter().map(|one| one.name.as_str()));
        for one in &spec.types.enumerations {
            self.enumeration(one);
        }
    }

    fn enumeration(&mut self, one: &Enumeration) {
        let place = format!("types.toml: enum {}", one.name);
        let all = || one.values.iter().chain(&one.reserved);
        self.names(&place, all().map(|value| value.name.as_str()));
        self.unique(&place, "value", all().map(|value| value.value));
        if one.values.is_empty() {
            self.report(&place, "has no values");
        }
        if has_bytes(&one.values) && one.values.iter().any(|value| value.bytes.is_none() && value.name != "none") {
            self.report(&place, "every value but `none` needs `bytes`, since one has it");
        }
    }

    fn faults(&mut self) {
        let faults = &self.spec.faults.faults;
        self.names("faults.toml", faults.iter().map(|fault| fault.name.as_str()));
        self.unique("faults.toml", "code", faults.iter().map(|fault| fault.code));
        if faults.iter().any(|fault| fault.code == 0) {
            self.report("faults.toml", "code 0 means no fault");
        }
    }

    fn commands(&mut self) {
        let commands = &self.spec.commands.commands;
        self.names("commands.toml", commands.iter().map(|command| command.name.as_str()));
        self.unique("commands.toml", "opcode", commands.iter().map(|command| command.opcode));
        for command in commands {
            let place = format!("commands.toml: command {}", command.name);
            self.fields(&place, &command.fields);
            self.basis(&place, &command.basis);
            if matches!(command.opcode, 0x00 | 0xff) {
                self.report(&place, "opcodes 0x00 and 0xff are never assigned");
            }
            if let Some(field) = command.fields.iter().find(|field| field.bits.high > 23) {
                self.report(&place, format!("field {} overlaps the opcode in bits 31:24", field.name));
            }
            for fault in &command.faults {
                if !self.spec.faults.faults.iter().any(|known| known.name == *fault) {
                    self.report(&place, format!("faults.toml has no fault {fault}"));
                }
            }
        }
    }

    fn fields(&mut self, place: &str, fields: &[Field]) {
        self.names(place, fields.iter().map(|field| field.name.as_str()));
        let mut taken: u32 = 0;
        for field in fields {
            if taken & field.bits.mask() != 0 {
                self.report(place, format!("field {} overlaps another in bits {}", field.name, field.bits));
            }
            taken |= field.bits.mask();
            self.field_values(&format!("{place}, field {}", field.name), field);
        }
    }

    fn field_values(&mut self, place: &str, field: &Field) {
        if field.max() > field.bits.largest() {
            self.report(place, format!("max {} does not fit into bits {}", field.max(), field.bits));
        }
        if field.min() > field.max() {
            self.report(place, format!("min {} is above max {}", field.min(), field.max()));
        }
        let Some(name) = &field.enumeration else {
            return;
        };
        let Some(enumeration) = self.spec.enumeration(name) else {
            return self.report(place, format!("types.toml has no enum {name}"));
        };
        for value in enumeration.values.iter().chain(&enumeration.reserved) {
            if value.value > field.bits.largest() {
                self.report(place, format!("{name} {} does not fit into bits {}", value.name, field.bits));
            }
        }
    }

    fn operations(&mut self) {
        let operations = &self.spec.operations.operations;
        self.names("operations.toml", operations.iter().map(|operation| operation.name.as_str()));
        self.unique("operations.toml", "code", operations.iter().map(|operation| operation.code));
        for operation in operations {
            self.operation(operation);
        }
    }

    fn operation(&mut self, operation: &Operation) {
        let place = format!("operations.toml: operation {}", operation.name);
        self.basis(&place, &operation.basis);
        self.unique(&place, "register", operation.registers.iter());
        let file = self.spec.registers(operation.engine);
        for name in &operation.registers {
            if !file.registers.iter().any(|register| register.name == *name) {
                self.report(&place, format!("engine {} has no register {name}", operation.engine.name()));
            }
        }
    }

    fn registers(&mut self, engine: Engine) {
        let file = self.spec.registers(engine);
        let place = format!("registers/{}.toml", engine.name());
        if file.engine != engine {
            self.report(&place, format!("engine is {}", file.engine.name()));
        }
        self.names(&place, file.registers.iter().map(|register| register.name.as_str()));
        self.unique(&place, "index", file.registers.iter().map(|register| register.index));
        if !file.registers.is_sorted_by_key(|register| register.index) {
            self.report(&place, "registers are not in the order of their indices");
        }
        for register in &file.registers {
            self.register(&place, register);
        }
    }

    fn register(&mut self, file: &str, register: &Register) {
        let place = format!("{file}: register {}", register.name);
        self.fields(&place, &register.fields);
        if register.kind.is_some() != register.fields.is_empty() {
            self.report(&place, "needs either `kind` or `fields`");
        }
    }

    fn host(&mut self) {
        const PLACE: &str = "registers/host.toml";
        let registers = &self.spec.host.registers;
        self.names(PLACE, registers.iter().map(|register| register.name.as_str()));
        self.unique(PLACE, "offset", registers.iter().flat_map(offsets).map(|offset| format!("{offset:#05x}")));
        self.unique(PLACE, "flags", registers.iter().filter_map(|register| register.flags.as_ref()));
        for register in registers {
            self.host_register(&format!("{PLACE}: register {}", register.name), register);
        }
    }

    fn host_register(&mut self, place: &str, register: &HostRegister) {
        self.fields(place, &register.fields);
        if !register.offset.is_multiple_of(4) || offsets(register).any(|offset| offset >= self.spec.host.stride) {
            self.report(place, "offsets must be multiples of 4 below the stride");
        }
        if register.flags.is_some() == register.fields.is_empty() {
            self.report(place, "`fields` and `flags` go together");
        }
        if register.fields.iter().any(|field| field.bits.width() != 1) {
            self.report(place, "flags are one bit each");
        }
        if let Some(other) = &register.fields_of {
            let known = self.spec.host.registers.iter().find(|known| known.name == *other);
            if known.is_none_or(|known| known.fields.is_empty()) {
                self.report(place, format!("fields_of: no register {other} with fields"));
            }
        }
    }

    fn target_keys(&mut self) {
        let keys = &self.spec.target_keys.keys;
        self.names("targets.toml", keys.iter().map(|key| key.name.as_str()));
        for key in keys {
            if ["name", "id", "summary", "basis"].contains(&key.name.as_str()) {
                self.report("targets.toml", format!("value {} has the name of another key", key.name));
            }
        }
    }

    fn targets(&mut self) {
        let targets = &self.spec.targets;
        self.unique("targets", "id", targets.iter().map(|(_, target)| target.id));
        self.unique("targets", "name", targets.iter().map(|(_, target)| target.name.as_str()));
        for (file, target) in targets {
            if *file != format!("targets/{}.toml", target.name) {
                self.report(file, format!("name {} is not the name of the file", target.name));
            }
            self.target(file, target);
        }
    }

    fn target(&mut self, file: &str, target: &Target) {
        let keys: BTreeMap<&str, &TargetKey> =
            self.spec.target_keys.keys.iter().map(|key| (key.name.as_str(), key)).collect();
        for name in keys.keys().filter(|name| !target.values.contains_key(**name)) {
            self.report(file, format!("value {name} is missing"));
        }
        for (name, value) in &target.values {
            let place = format!("{file}: value {name}");
            match keys.get(name.as_str()) {
                None => self.report(&place, "targets.toml has no such value"),
                Some(key) => self.target_value(&place, key, value.value),
            }
            self.target_basis(&place, &value.basis);
        }
    }

    fn target_value(&mut self, place: &str, key: &TargetKey, value: u32) {
        let (min, max) = (key.min.unwrap_or(0), key.max.unwrap_or(u32::MAX));
        if !(min..=max).contains(&value) {
            self.report(place, format!("{value} is not within {min} to {max}"));
        }
    }

    fn target_basis(&mut self, place: &str, basis: &str) {
        if !basis.starts_with("public: ") && !basis.starts_with("assumed") {
            self.report(place, "basis must begin with `public: ` or `assumed`");
        }
    }

    fn basis(&mut self, place: &str, basis: &str) {
        if !basis.starts_with("public: ") && !basis.starts_with("own design") {
            self.report(place, "basis must begin with `public: ` or `own design`");
        }
    }
}

/// Whether this is the type of an element, which has a size.
pub(crate) fn has_bytes(values: &[EnumValue]) -> bool {
    values.iter().any(|value| value.bytes.is_some())
}

fn offsets(register: &HostRegister) -> impl Iterator<Item = u32> {
    let offset = register.offset;
    (0..register.count).map(move |entry| offset + 4 * entry)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::codegen::load::load;
    use crate::codegen::schema::{Bits, Spec};
    use crate::workspace;

    fn spec() -> Spec {
        load(&workspace().join("isa-spec")).unwrap_or_else(|problems| panic!("{}", problems.join("\n")))
    }

    #[test]
    fn the_specification_keeps_the_rules() {
        assert_eq!(check(&spec()), [""; 0]);
    }

    #[test]
    fn every_broken_rule_is_named_with_file_and_key() {
        type Break = fn(&mut Spec);
        let cases: [(Break, &str); 16] = [
            (|spec| spec.commands.commands[1].opcode = 0x01, "commands.toml: opcode 1 occurs more than once"),
            (
                |spec| spec.commands.commands[0].opcode = 0xff,
                "commands.toml: command NOP: opcodes 0x00 and 0xff are never assigned",
            ),
            (
                |spec| spec.commands.commands[0].faults.push("Sloth".to_owned()),
                "commands.toml: command NOP: faults.toml has no fault Sloth",
            ),
            (
                |spec| spec.commands.commands[2].fields[1].bits = Bits { high: 24, low: 16 },
                "commands.toml: command SET: field COUNT overlaps the opcode in bits 31:24",
            ),
            (
                |spec| spec.commands.commands[0].basis = "rumour".to_owned(),
                "commands.toml: command NOP: basis must begin with `public: ` or `own design`",
            ),
            (
                |spec| spec.cnn.registers[0].fields[1].bits = Bits { high: 3, low: 0 },
                "registers/cnn.toml: register FORMAT: field IN2 overlaps another in bits 3:0",
            ),
            (
                |spec| spec.cnn.registers[0].fields[0].enumeration = Some("Colour".to_owned()),
                "registers/cnn.toml: register FORMAT, field IN: types.toml has no enum Colour",
            ),
            (
                |spec| spec.cnn.registers[0].fields[0].bits = Bits { high: 2, low: 0 },
                "registers/cnn.toml: register FORMAT, field IN: ElementType fp8_e4m3 does not fit into bits 2:0",
            ),
            (|spec| spec.cnn.registers[1].index = 0, "registers/cnn.toml: index 0 occurs more than once"),
            (
                |spec| spec.dma.registers[1].kind = None,
                "registers/dma.toml: register SRC_ADDR: needs either `kind` or `fields`",
            ),
            (
                |spec| spec.operations.operations[0].registers.push("IN_ADR".to_owned()),
                "operations.toml: operation CONV: engine cnn has no register IN_ADR",
            ),
            (|spec| spec.faults.faults[0].code = 0, "faults.toml: code 0 means no fault"),
            (
                |spec| spec.host.registers[0].offset = 2,
                "registers/host.toml: register SPEC_VERSION: offsets must be multiples of 4 below the stride",
            ),
            (|spec| spec.targets[0].1.id = spec.targets[1].1.id, "targets: id 2 occurs more than once"),
            (
                |spec| {
                    spec.targets[0].1.values.remove("cores");
                },
                "targets/v3m.toml: value cores is missing",
            ),
            (
                |spec| spec.target_keys.keys.truncate(22),
                "targets/v3m.toml: value max_channels: targets.toml has no such value",
            ),
        ];
        for (break_it, message) in cases {
            let mut spec = spec();
            break_it(&mut spec);
            let problems = check(&spec);
            let message = format!("isa-spec/{message}");
            assert!(problems.contains(&message), "{message}\nis not among\n{}", problems.join("\n"));
        }
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let mut spec = spec();
        for (_, target) in &mut spec.targets {
            for value in target.values.values_mut() {
                value.basis = "hearsay".to_owned();
            }
        }
        let expected: usize = spec.targets.iter().map(|(_, target)| target.values.len()).sum();
        assert_eq!(check(&spec).len(), expected);
    }
}
