use super::*;
use crate::{
    CnnRegister, ElementType, EltwiseFunction, EngineKind, ReduceFunction, ResizeMode, RoundingMode, TableKind,
};
use proptest::prelude::*;

const V4H: &str = "v4h";

fn target() -> &'static Target {
    Target::by_name(V4H).unwrap()
}

fn kind_of(operation: &Operation) -> EngineKind {
    operation.code().engine()
}

fn round_trip(operation: &Operation) -> Result<Operation, OperationError> {
    let mut registers = RegisterFile::new(kind_of(operation));
    operation.store(&mut registers);
    Operation::read(operation.code(), &registers, target())
}

fn conv() -> Conv {
    Conv {
        kind: ConvKind::Grouped { groups: 1 },
        input: FeatureMap::dense(0x100, [8, 8, 4], ElementType::Int8),
        input_zero: -128,
        pad_value: -128,
        output: FeatureMap::dense(0x1000, [8, 8, 16], ElementType::Int8),
        window: Window { kernel_h: 3, kernel_w: 3, top: 1, left: 1, ..Window::UNIT },
        weights: Weights { address: 0x4000, element: ElementType::Int8, zero: 0, sparse: None },
        records: 0x8000,
        accumulators: Accumulators { load: None, store: None, bias: true },
        requant: RoundingMode::Double,
        activation: Activation::full_range(3, ElementType::Int8),
    }
}

prop_compose! {
    fn any_stage()(mode in proptest::sample::select(vec![RoundingMode::None, RoundingMode::Double, RoundingMode::Single]), multiplier in 0_u32..1 << 31, shift in -31_i32..31) -> OutputStage {
        if mode == RoundingMode::None { OutputStage::NONE } else { OutputStage { mode, multiplier, shift } }
    }
}

prop_compose! {
    fn any_conv()(
        size in (1_u32..20, 1_u32..20, 1_u32..40, 1_u32..5),
        depthwise: bool,
        kernel in (1_u32..=5, 1_u32..=5, 1_u32..=3, 1_u32..=3),
        load: bool, store: bool, bias: bool,
        table: bool,
    ) -> Conv {
        let (h, w, c, m) = size;
        let (kernel_h, kernel_w, stride_y, stride_x) = kernel;
        let element = if store { ElementType::None } else { ElementType::Int8 };
        let output = [1, 1, c * m];
        Conv {
            kind: if depthwise { ConvKind::Depthwise { multiplier: m } } else { ConvKind::Grouped { groups: 1 } },
            input: FeatureMap::dense(0x100, [h, w, c], ElementType::Int8),
            output: if store {
                FeatureMap { row: 0, pixel: 0, ..FeatureMap::dense(0, output, element) }
            } else {
                FeatureMap::dense(0x2000, output, element)
            },
            window: Window { kernel_h, kernel_w, stride_y, stride_x, top: 2, left: 1, ..Window::UNIT },
            accumulators: Accumulators { load: load.then_some(0x800), store: store.then_some(0x1000), bias },
            requant: if store { RoundingMode::None } else { RoundingMode::Double },
            activation: if store { conv::NO_ACTIVATION } else {
                Activation { table: table.then_some(Table { kind: TableKind::Int8_256, address: 7 }), ..conv().activation }
            },
            ..conv()
        }
    }
}

prop_compose! {
    fn any_eltwise()(stages in (any_stage(), any_stage(), any_stage()), pass: bool, broadcast: bool, pre_shift in 0_u32..=22) -> Eltwise {
        let output = FeatureMap::dense(0x2000, [3, 4, 5], ElementType::Int8);
        let stage = |address, broadcast, scale| Stage { map: FeatureMap { address, ..output }, broadcast, zero: 5, scale };
        Eltwise {
            function: if pass { EltwiseFunction::Pass } else { EltwiseFunction::Add },
            pre_shift,
            first: stage(0, broadcast, stages.0),
            second: (!pass).then(|| stage(0x400, !broadcast, stages.1)),
            output,
            stage: stages.2,
            activation: Activation { zero: -4, min: -100, max: 90, table: None },
        }
    }
}

prop_compose! {
    fn any_copy()(run in 1_u32..50, counts in [1_u32..4, 1_u32..4, 1_u32..4, 1_u32..4], up in 0_u32..9, region in 0_u8..32) -> Copy {
        let mut least = run;
        let destination_steps = counts.map(|count| {
            if count == 1 { return 0 }
            let step = least + up;
            least += (count - 1) * step;
            step
        });
        Copy {
            source: Location::dram(region, 77),
            destination: Location::sram(13),
            pattern: DmaPattern { run, counts },
            source_steps: counts.map(|count| if count > 1 { up } else { 0 }),
            destination_steps,
        }
    }
}

proptest! {
    #[test]
    fn reading_inverts_storing(conv in any_conv(), eltwise in any_eltwise(), copy in any_copy()) {
        for operation in [Operation::Conv(conv), Operation::Eltwise(eltwise), Operation::Copy(copy)] {
            prop_assert_eq!(round_trip(&operation), Ok(operation));
        }
    }

    /// Whatever registers hold, reading them gives an operation or an error.
    #[test]
    fn reading_any_registers_is_total(words in proptest::collection::vec((any::<u8>(), any::<u32>(), 0_u32..40), 0..60), code in 0..OperationCode::ALL.len()) {
        let code = OperationCode::ALL[code];
        let mut registers = RegisterFile::new(code.engine());
        for (index, value, small) in words {
            let _ = registers.write(index, if value % 2 == 0 { small } else { value });
        }
        if let Ok(operation) = Operation::read(code, &registers, target()) {
            let _ = operation.check_overlap();
            for operand in operation.operands().iter() {
                let _ = operand.bytes.extent();
            }
        }
    }
}

#[test]
fn decodes_round_trip_and_keep_their_rules() {
    let book = Codebook { address: 0x900, kernels: 5, taps: 9, element_bytes: 2, index_bits: 3 };
    let decode = Decode {
        stream: Location::dram(3, 0x41),
        stream_bytes: 77,
        offsets: 0x40,
        destination: Location::sram(0x100),
        coding: Coding::Cluster(book),
        first: 2,
        blocks: 3,
        block_bytes: 18 * 64,
    };
    for coding in [Coding::Raw, Coding::ZeroRun, decode.coding] {
        let operation = Operation::Decode(Decode { coding, ..decode });
        assert_eq!(round_trip(&operation), Ok(operation));
        let reads = 2 + usize::from(coding == decode.coding);
        assert_eq!(operation.operands().iter().filter(|operand| !operand.role.is_write()).count(), reads);
    }
    let book = |book| Decode { coding: Coding::Cluster(book), ..decode };
    let codebook = Codebook { address: 0x900, kernels: 5, taps: 9, element_bytes: 2, index_bits: 3 };
    let bad = [
        (Decode { offsets: 0x41, ..decode }, "OFFSETS_ADDR"),
        (Decode { blocks: 0, ..decode }, "BLOCKS"),
        (Decode { blocks: u32::MAX, ..decode }, "BLOCKS"),
        (Decode { first: 1 << 30, ..decode }, "BLOCKS"),
        (Decode { stream_bytes: 0, ..decode }, "STREAM_BYTES"),
        (Decode { block_bytes: 19, ..decode }, "BLOCK_BYTES"),
        (book(Codebook { kernels: 9, ..codebook }), "CODEBOOK_KERNELS"),
        (book(Codebook { index_bits: 0, ..codebook }), "CODEC.INDEX_BITS"),
        (book(Codebook { taps: 0, ..codebook }), "CODEBOOK_SHAPE.TAPS"),
    ];
    for (decode, want) in bad {
        let got = round_trip(&Operation::Decode(decode));
        assert!(
            matches!(got, Err(OperationError::IllegalParameter { register, .. }) if register == want),
            "{want}: {got:?}"
        );
    }
}

#[test]
fn sparse_weights_read_the_stored_blocks_and_the_bitmap() {
    let with = |kind, stored, longest| {
        let sparse = Some(Sparse { bitmap: 0x77, stored, longest });
        Operation::Conv(Conv { kind, weights: Weights { sparse, ..conv().weights }, ..conv() })
    };
    let grouped = ConvKind::Grouped { groups: 1 };
    let operation = with(grouped, 5, 5);
    assert_eq!(round_trip(&operation), Ok(operation));
    let bytes =
        |of| operation.operands().iter().find(|operand| operand.role == of).map(|operand| operand.bytes.extent());
    assert_eq!((bytes(Role::Weights), bytes(Role::Bitmap)), (Some(0x4000..0x4000 + 5 * 64), Some(0x77..0x79)));
    let refused = |operation: Operation| match round_trip(&operation) {
        Err(OperationError::IllegalParameter { register, .. }) => register,
        _ => "nothing",
    };
    assert_eq!([refused(with(grouped, 10, 9)), refused(with(grouped, 9, 10))], ["W_STORED", "W_LONGEST"]);
    let depthwise = Conv { output: FeatureMap::dense(0x1000, [8, 8, 4], ElementType::Int8), ..conv() };
    let weights = Weights { sparse: Some(Sparse { bitmap: 0, stored: 0, longest: 0 }), ..depthwise.weights };
    let depthwise = Conv { kind: ConvKind::Depthwise { multiplier: 1 }, weights, ..depthwise };
    assert_eq!(refused(Operation::Conv(depthwise)), "W_MODE.SPARSE");
}

#[test]
fn pools_and_reductions_round_trip() {
    let input = FeatureMap::dense(0, [7, 9, 3], ElementType::Int16);
    let stage = OutputStage { mode: RoundingMode::Double, multiplier: 1 << 30, shift: -3 };
    let average = PoolKind::Average { input_zero: 0, count_pad: true, stage };
    for kind in [PoolKind::Max, average] {
        let pool = Pool {
            kind,
            input,
            output: FeatureMap::dense(0x800, [4, 5, 3], ElementType::Int16),
            window: Window { kernel_h: 3, kernel_w: 3, stride_y: 2, stride_x: 2, top: 1, left: 1, ..Window::UNIT },
            activation: Activation { zero: 0, min: -7, max: 700, table: None },
        };
        assert_eq!(round_trip(&Operation::Pool(pool)), Ok(Operation::Pool(pool)));
    }
    let reduce = Reduce {
        function: ReduceFunction::Sum,
        input,
        input_zero: 0,
        channels: false,
        accumulators: Accumulators { load: Some(0x900), store: None, bias: false },
        output: ReduceOutput {
            address: 0x800,
            element: ElementType::Int16,
            stage,
            divisor: 63,
            activation: Activation { zero: 0, min: -7, max: 700, table: None },
        },
    };
    assert_eq!(round_trip(&Operation::Reduce(reduce)), Ok(Operation::Reduce(reduce)));
}

fn resize(mode: ResizeMode) -> Resize {
    Resize {
        mode,
        input: FeatureMap::dense(0, [7, 9, 3], ElementType::Int8),
        output: FeatureMap::dense(0x800, [14, 27, 3], ElementType::Int8),
        fraction: 10,
        rows: ResizeAxis { origin: -256, step: 512 },
        columns: ResizeAxis { origin: 3, step: 341 },
    }
}

fn argmax(element: ElementType) -> ArgMax {
    let input = FeatureMap::dense(0, [7, 9, 21], ElementType::Int8);
    ArgMax { input, output: FeatureMap::dense(0x800, [7, 9, 1], element) }
}

fn affine() -> Eltwise {
    let output = FeatureMap::dense(0x2000, [3, 4, 5], ElementType::Int8);
    let scale = |value: f32| OutputStage { mode: RoundingMode::Float, multiplier: value.to_bits(), shift: 0 };
    let input = |address, value| Stage {
        map: FeatureMap { address, ..output },
        broadcast: false,
        zero: -128,
        scale: scale(value),
    };
    Eltwise {
        function: EltwiseFunction::Affine,
        pre_shift: 0,
        first: input(0, 0.5),
        second: Some(input(0x400, 0.25)),
        output,
        stage: scale(-3.0),
        activation: Activation { zero: 3, min: -100, max: 90, table: None },
    }
}

#[test]
fn resizes_arg_max_and_affine_sums_round_trip() {
    for operation in [
        Operation::Resize(resize(ResizeMode::Nearest)),
        Operation::Resize(resize(ResizeMode::Bilinear)),
        Operation::ArgMax(argmax(ElementType::Int8)),
        Operation::ArgMax(argmax(ElementType::Int32)),
        Operation::Eltwise(affine()),
    ] {
        assert_eq!(round_trip(&operation), Ok(operation));
    }
}

/// The message when one register of a legal operation is changed.
fn refused(operation: &Operation, register: CnnRegister, value: u32) -> String {
    let mut registers = RegisterFile::new(EngineKind::Cnn);
    operation.store(&mut registers);
    registers.set_cnn(register, value);
    Operation::read(operation.code(), &registers, target()).unwrap_err().to_string()
}

#[test]
fn limits_of_resizes_arg_max_and_affine_sums() {
    let nearest = Operation::Resize(resize(ResizeMode::Nearest));
    let bilinear = Operation::Resize(resize(ResizeMode::Bilinear));
    let eight_times = Resize { rows: ResizeAxis { origin: 0, step: 128 }, ..resize(ResizeMode::Nearest) };
    assert!(round_trip(&Operation::Resize(eight_times)).is_ok());
    let index = Operation::ArgMax(argmax(ElementType::Int32));
    let sum = Operation::Eltwise(affine());
    for (operation, register, value, want) in [
        (nearest, CnnRegister::StepY, 127, "STEP_Y = 127 (0x7f): must lie in 128..=4294967295"),
        (bilinear, CnnRegister::StepX, 203, "STEP_X = 203 (0xcb): must lie in 204..=4294967295"),
        (bilinear, CnnRegister::Resize, 0x1101, "RESIZE.FRACTION = 17 (0x11): must lie in 0..=16"),
        (bilinear, CnnRegister::Resize, 0x0a02, "RESIZE.MODE = 2 (0x2): is not a ResizeMode"),
        (bilinear, CnnRegister::Format, 0x301, "FORMAT.OUT = 3 (0x3): is not legal for an input of another type"),
        (bilinear, CnnRegister::OutPix, 2, "OUT_PIX = 2 (0x2): lets destination elements alias: it must be at least 3"),
        (index, CnnRegister::InC, 33, "IN_C = 33 (0x21): must lie in 1..=32"),
        (index, CnnRegister::OutPix, 0, "OUT_PIX = 0 (0x0): lets destination elements alias: it must be at least 4"),
        (index, CnnRegister::OutAddr, 0x802, "OUT_ADDR = 2050 (0x802): must be a multiple of 4"),
        (sum, CnnRegister::InZero, 128, "IN_ZERO = 128 (0x80): must lie in -128..=127"),
        (sum, CnnRegister::OutZero, 128, "OUT_ZERO = 128 (0x80): must lie in -128..=127"),
        (sum, CnnRegister::Requant, 0, "REQUANT.MODE = 0 (0x0): is not legal for this operation and type"),
    ] {
        assert_eq!(refused(&operation, register, value), want);
    }
}

/// A program of registers that must be refused: what is changed, and the message.
#[test]
fn illegal_parameters_name_register_value_and_rule() {
    let cases: [(CnnRegister, u32, &str); 8] = [
        (CnnRegister::Kernel, 0x0603, "KERNEL.H = 6 (0x6): must lie in 1..=5"),
        (CnnRegister::InSize, 0, "IN_SIZE.W = 0 (0x0): must lie in 1..=65535"),
        (CnnRegister::WAddr, 0x4001, "W_ADDR = 16385 (0x4001): must be a multiple of 64"),
        (CnnRegister::OutPix, 15, "OUT_PIX = 15 (0xf): lets destination elements alias: it must be at least 16"),
        (CnnRegister::Groups, 3, "IN_C = 4 (0x4): must be a multiple of 3"),
        (CnnRegister::InZero, 200, "IN_ZERO = 200 (0xc8): must lie in -128..=127"),
        (CnnRegister::Requant, 0, "REQUANT.MODE = 0 (0x0): is not legal for these types"),
        (
            CnnRegister::OutSize,
            0x0020_0008,
            "OUT_SIZE.H = 32 (0x20): makes the last window reach 25 beyond the input, more than 7",
        ),
    ];
    for (register, value, want) in cases {
        let mut registers = RegisterFile::new(EngineKind::Cnn);
        Operation::Conv(conv()).store(&mut registers);
        registers.set_cnn(register, value);
        let error = Operation::read(OperationCode::Conv, &registers, target()).unwrap_err();
        assert_eq!(error.to_string(), want);
    }
}

#[test]
fn a_window_of_padding_only_is_refused() {
    let pool = Pool {
        kind: PoolKind::Max,
        input: FeatureMap::dense(0, [4, 4, 1], ElementType::Int8),
        output: FeatureMap::dense(0x100, [2, 4, 1], ElementType::Int8),
        window: Window { kernel_h: 2, stride_y: 3, top: 2, ..Window::UNIT },
        activation: Activation { zero: 0, min: -128, max: 127, table: None },
    };
    let error = round_trip(&Operation::Pool(pool)).unwrap_err();
    assert_eq!(error.to_string(), "OUT_SIZE.H = 2 (0x2): leaves the window of output 0 without a valid position");
}

#[test]
fn only_element_wise_operations_and_accumulators_work_in_place() {
    let mut over_itself = conv();
    over_itself.output = FeatureMap { address: 0x100, ..over_itself.output };
    let error = Operation::Conv(over_itself).check_overlap().unwrap_err();
    assert_eq!(error, OperationError::Overlap { read: Role::Input, write: Role::Output, byte: 0x100 });

    let map = FeatureMap::dense(0, [3, 4, 5], ElementType::Int8);
    let first = Stage { map, broadcast: false, zero: 0, scale: OutputStage::NONE };
    let relu = Eltwise {
        function: EltwiseFunction::Pass,
        pre_shift: 0,
        first,
        second: None,
        output: map,
        stage: OutputStage::NONE,
        activation: Activation { zero: 0, min: 0, max: 127, table: None },
    };
    assert_eq!(Operation::Eltwise(relu).check_overlap(), Ok(()));
    let shifted = Eltwise { output: FeatureMap { address: 1, ..map }, ..relu };
    assert!(Operation::Eltwise(shifted).check_overlap().is_err());
}

fn half_table(kind: TableKind) -> Lookup {
    let output = FeatureMap::dense(0x800, [3, 4, 5], ElementType::Int16);
    Lookup {
        input: FeatureMap { address: 0, ..output },
        output,
        table: Table { kind, address: 0x400 },
        scale: Some(TableScale { multiplier: 65_535, shift: 31 }),
    }
}

#[test]
fn half_tables_scale_their_input_and_are_for_tables_only() {
    let lookup = Operation::Lookup(half_table(TableKind::Int16Tanh));
    assert_eq!(round_trip(&lookup), Ok(lookup));
    assert_eq!(refused(&lookup, CnnRegister::InMult, 65_536), "IN_MULT = 65536 (0x10000): must lie in 0..=65535");
    assert_eq!(refused(&lookup, CnnRegister::InShift, 32), "IN_SHIFT = 32 (0x20): must lie in 0..=31");
    let fused = half_table(TableKind::Int16Sigmoid).table;
    let eltwise = Eltwise { function: EltwiseFunction::Pass, second: None, ..affine() };
    let output = FeatureMap::dense(0x2000, [3, 4, 5], ElementType::Int16);
    let scale = OutputStage::NONE;
    let (first, stage) = (Stage { scale, ..eltwise.first }, scale);
    let eltwise = Eltwise { first, output, stage, ..eltwise };
    let activation = Activation { table: Some(fused), ..eltwise.activation };
    let error = round_trip(&Operation::Eltwise(Eltwise { activation, ..eltwise })).unwrap_err();
    assert_eq!(error.to_string(), "ACTIVATION.TABLE = 3 (0x3): is not legal for this operation");
}
