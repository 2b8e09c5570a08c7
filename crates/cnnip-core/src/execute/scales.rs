//! Scales as arithmetic needs them, from registers and records.

use cnnip_isa::RoundingMode;
use cnnip_isa::operation::{Conv, Operation, OutputStage, Pool, PoolKind, RECORD_BYTES};
use cnnip_numerics::{ChannelRecord, IllegalParameter, Scale};

use super::element::{at, bytes};
use crate::FaultCause;

/// The arithmetic's name for a mode of the encoding.
pub(super) fn mode(mode: RoundingMode) -> cnnip_numerics::RoundingMode {
    match mode {
        RoundingMode::None => cnnip_numerics::RoundingMode::None,
        RoundingMode::Double => cnnip_numerics::RoundingMode::Double,
        RoundingMode::Single => cnnip_numerics::RoundingMode::Single,
        RoundingMode::Reduced => cnnip_numerics::RoundingMode::Reduced,
        RoundingMode::Float => cnnip_numerics::RoundingMode::Float,
        RoundingMode::FloatZero => cnnip_numerics::RoundingMode::FloatZero,
    }
}

/// The scale of a stage in registers.
pub(super) fn of_stage(stage: &OutputStage) -> Result<Scale, IllegalParameter> {
    Scale::new(mode(stage.mode), stage.multiplier, stage.shift)
}

/// The record of a channel.
pub(super) fn record(conv: &Conv, sram: &[u8], channel: u32) -> ChannelRecord {
    ChannelRecord::from_le_bytes(bytes(sram, at(conv.records, u64::from(channel) * u64::from(RECORD_BYTES))))
}

/// Checks every multiplier and shift that the operation has in registers.
///
/// # Errors
/// The first scale that its mode does not allow.
pub(crate) fn check_register_scales(operation: &Operation) -> Result<(), FaultCause> {
    let check = |stage: &OutputStage| match of_stage(stage) {
        Ok(_) => Ok(()),
        Err(why) => Err(FaultCause::Scale { channel: None, why }),
    };
    match operation {
        Operation::Pool(Pool { kind: PoolKind::Average { stage, .. }, .. }) => check(stage),
        Operation::Eltwise(eltwise) => {
            check(&eltwise.first.scale)?;
            eltwise.second.as_ref().map_or(Ok(()), |second| check(&second.scale))?;
            check(&eltwise.stage)
        }
        Operation::Reduce(reduce) => check(&reduce.output.stage),
        Operation::Pool(Pool { kind: PoolKind::Max, .. })
        | Operation::Conv(_)
        | Operation::Lookup(_)
        | Operation::Resize(_)
        | Operation::ArgMax(_)
        | Operation::Copy(_)
        | Operation::Fill(_)
        | Operation::Decode(_) => Ok(()),
    }
}

/// Checks every multiplier and shift that the operation has in records in SRAM.
///
/// # Errors
/// The first scale that the operation's mode does not allow.
pub(crate) fn check_record_scales(operation: &Operation, sram: &[u8]) -> Result<(), FaultCause> {
    match operation {
        Operation::Conv(conv) if conv.accumulators.store.is_none() => check_records(conv, sram),
        _ => Ok(()),
    }
}

fn check_records(conv: &Conv, sram: &[u8]) -> Result<(), FaultCause> {
    let mode = mode(conv.requant);
    (0..conv.output.channels).try_for_each(|channel| match record(conv, sram, channel).scale(mode) {
        Ok(_) => Ok(()),
        Err(why) => Err(FaultCause::Scale { channel: Some(channel), why }),
    })
}
