//! Constants of the file: initializers and tensors among the attributes.

use bytes::Bytes;

use super::external::Files;
use super::proto::{self, data_type};
use crate::problem::Rule;
use crate::tensor::{Data, ElementType, MAX_RANK, Shape, ShapeError, Tensor};

/// The element type of a code of the format.
pub(super) fn element(code: i32) -> Result<ElementType, Rule> {
    Ok(match code {
        data_type::FLOAT => ElementType::F32,
        data_type::UINT8 => ElementType::U8,
        data_type::INT8 => ElementType::I8,
        data_type::UINT16 => ElementType::U16,
        data_type::INT16 => ElementType::I16,
        data_type::INT32 => ElementType::I32,
        data_type::INT64 => ElementType::I64,
        data_type::BOOL => ElementType::Bool,
        data_type::FLOAT16 => ElementType::F16,
        data_type::DOUBLE => ElementType::F64,
        data_type::UINT32 => ElementType::U32,
        data_type::UINT64 => ElementType::U64,
        code => return Err(Rule::ElementType { code: code.into() }),
    })
}

/// The format's code of an element type.
pub(super) fn code(element: ElementType) -> i32 {
    match element {
        ElementType::F32 => data_type::FLOAT,
        ElementType::U8 => data_type::UINT8,
        ElementType::I8 => data_type::INT8,
        ElementType::U16 => data_type::UINT16,
        ElementType::I16 => data_type::INT16,
        ElementType::I32 => data_type::INT32,
        ElementType::I64 => data_type::INT64,
        ElementType::Bool => data_type::BOOL,
        ElementType::F16 => data_type::FLOAT16,
        ElementType::F64 => data_type::DOUBLE,
        ElementType::U32 => data_type::UINT32,
        ElementType::U64 => data_type::UINT64,
    }
}

/// A shape from the extents of the format.
pub(super) fn shape(dims: &[i64]) -> Result<Shape, Rule> {
    if dims.len() > MAX_RANK {
        return Err(ShapeError::Rank { found: dims.len() }.into());
    }
    let extent = |(axis, &value): (usize, &i64)| usize::try_from(value).map_err(|_| Rule::Dimension { axis, value });
    Ok(Shape::new(dims.iter().enumerate().map(extent).collect::<Result<Vec<_>, _>>()?)?)
}

/// A constant of the file, under `name`.
pub(super) fn constant(source: &proto::Tensor, name: &str, files: &Files<'_>) -> Result<Tensor, Rule> {
    let element = element(source.data_type.unwrap_or(0))?;
    let tensor = Tensor::new(name, shape(&source.dims)?, element);
    let data = match (&source.raw_data, source.data_location) {
        (_, Some(1)) => files.read(&source.external_data, tensor.byte_len())?,
        (Some(raw), _) => raw.clone(),
        (None, _) => listed(source, element)?,
    };
    if data.len() != tensor.byte_len() {
        return Err(Rule::DataSize { want: tensor.byte_len(), found: data.len() });
    }
    Ok(tensor.constant(Data::from(data)))
}

/// Elements in the list of their type.
fn listed(source: &proto::Tensor, element: ElementType) -> Result<Bytes, Rule> {
    let size = element.size();
    let low = |value: i64| value.to_le_bytes().into_iter().take(size);
    let bytes: Vec<u8> = match element {
        ElementType::F32 => source.float_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ElementType::F64 => source.double_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ElementType::I64 => source.int64_data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ElementType::U32 | ElementType::U64 => {
            source.uint64_data.iter().flat_map(|value| value.to_le_bytes().into_iter().take(size)).collect()
        }
        ElementType::Bool
        | ElementType::I8
        | ElementType::U8
        | ElementType::I16
        | ElementType::U16
        | ElementType::F16
        | ElementType::I32 => source.int32_data.iter().flat_map(|&value| low(value.into())).collect(),
    };
    Ok(bytes.into())
}
