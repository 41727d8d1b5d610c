//! Writes the cells of columns as JSON: texts, numbers as they are written, lists, objects.

use std::fmt::Display;
use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowNativeTypeOp, StructArray};
use arrow_schema::{DataType, TimeUnit};

/// Whether [`write_cell`] can write cells of a type.
pub fn is_readable(data_type: &DataType) -> bool {
    use DataType::*;
    match data_type {
        Null | Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => true,
        Float16 | Float32 | Float64 | Utf8 | LargeUtf8 | Utf8View => true,
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => true,
        Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => true,
        Timestamp(..) | Date32 | Date64 => true,
        List(item) | LargeList(item) | FixedSizeList(item, _) => is_readable(item.data_type()),
        ListView(item) | LargeListView(item) | Map(item, _) => is_readable(item.data_type()),
        Struct(fields) => fields.iter().all(|field| is_readable(field.data_type())),
        Dictionary(_, values) => is_readable(values),
        _ => false,
    }
}

/// Writes one cell.
///
/// # Errors
/// What the cell holds instead of a value, in words.
pub fn write_cell(out: &mut Vec<u8>, array: &dyn Array, row: usize) -> Result<(), String> {
    use DataType::*;
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match array.data_type() {
        Utf8 => text(out, array.as_string::<i32>().value(row)),
        LargeUtf8 => text(out, array.as_string::<i64>().value(row)),
        Utf8View => text(out, array.as_string_view().value(row)),
        Binary => bytes(out, array.as_binary::<i32>().value(row))?,
        LargeBinary => bytes(out, array.as_binary::<i64>().value(row))?,
        BinaryView => bytes(out, array.as_binary_view().value(row))?,
        FixedSizeBinary(_) => bytes(out, array.as_fixed_size_binary().value(row))?,
        Null => out.extend_from_slice(b"null"),
        Boolean => plain(out, array.as_boolean().value(row)),
        Int8 => plain(out, array.as_primitive::<Int8Type>().value(row)),
        Int16 => plain(out, array.as_primitive::<Int16Type>().value(row)),
        Int32 => plain(out, array.as_primitive::<Int32Type>().value(row)),
        Int64 => plain(out, array.as_primitive::<Int64Type>().value(row)),
        UInt8 => plain(out, array.as_primitive::<UInt8Type>().value(row)),
        UInt16 => plain(out, array.as_primitive::<UInt16Type>().value(row)),
        UInt32 => plain(out, array.as_primitive::<UInt32Type>().value(row)),
        UInt64 => plain(out, array.as_primitive::<UInt64Type>().value(row)),
        Float16 => float(out, f32::from(array.as_primitive::<Float16Type>().value(row))),
        Float32 => float(out, array.as_primitive::<Float32Type>().value(row)),
        Float64 => float(out, array.as_primitive::<Float64Type>().value(row)),
        Decimal32(..) => plain(out, array.as_primitive::<Decimal32Type>().value_as_string(row)),
        Decimal64(..) => plain(out, array.as_primitive::<Decimal64Type>().value_as_string(row)),
        Decimal128(..) => plain(out, array.as_primitive::<Decimal128Type>().value_as_string(row)),
        Decimal256(..) => plain(out, array.as_primitive::<Decimal256Type>().value_as_string(row)),
        Date32 => time(out, array.as_primitive::<Date32Type>().value_as_date(row), "")?,
        Date64 => time(out, array.as_primitive::<Date64Type>().value_as_date(row), "")?,
        Timestamp(unit, zone) => {
            let moment = match unit {
                TimeUnit::Second => {
                    array.as_primitive::<TimestampSecondType>().value_as_datetime(row)
                }
                TimeUnit::Millisecond => {
                    array.as_primitive::<TimestampMillisecondType>().value_as_datetime(row)
                }
                TimeUnit::Microsecond => {
                    array.as_primitive::<TimestampMicrosecondType>().value_as_datetime(row)
                }
                TimeUnit::Nanosecond => {
                    array.as_primitive::<TimestampNanosecondType>().value_as_datetime(row)
                }
            };
            time(out, moment, if zone.is_some() { "Z" } else { "" })?;
        }
        List(_) => list(out, &array.as_list::<i32>().value(row))?,
        LargeList(_) => list(out, &array.as_list::<i64>().value(row))?,
        FixedSizeList(..) => list(out, &array.as_fixed_size_list().value(row))?,
        ListView(_) => list(out, &array.as_list_view::<i32>().value(row))?,
        LargeListView(_) => list(out, &array.as_list_view::<i64>().value(row))?,
        Struct(_) => object(out, array.as_struct(), row)?,
        Map(..) => map(out, &array.as_map().value(row))?,
        Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            match key_of(dictionary.keys(), row) {
                Some(key) if key < dictionary.values().len() => {
                    write_cell(out, dictionary.values().as_ref(), key)?;
                }
                _ => return Err("a key that its dictionary lacks".to_owned()),
            }
        }
        other => return Err(format!("the type {other}")),
    }
    Ok(())
}

fn text(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), String> {
    let utf8 = std::str::from_utf8(bytes).map_err(|_| "bytes that are not UTF-8".to_owned())?;
    text(out, utf8);
    Ok(())
}

fn plain(out: &mut Vec<u8>, value: impl Display) {
    let _ = write!(out, "{value}");
}

/// A number as Python writes it; null for none, as pandas writes a missing value.
fn float<T: ArrowNativeTypeOp + serde::Serialize + Display>(out: &mut Vec<u8>, value: T) {
    let _ = serde_json::to_writer(out, &value);
}

fn time<T: std::fmt::Debug>(out: &mut Vec<u8>, time: Option<T>, zone: &str) -> Result<(), String> {
    let time = time.ok_or("a time out of range")?;
    let _ = write!(out, "\"{time:?}{zone}\"");
    Ok(())
}

fn list(out: &mut Vec<u8>, items: &ArrayRef) -> Result<(), String> {
    out.push(b'[');
    for at in 0..items.len() {
        if at > 0 {
            out.push(b',');
        }
        write_cell(out, items.as_ref(), at)?;
    }
    out.push(b']');
    Ok(())
}

fn object(out: &mut Vec<u8>, fields: &StructArray, row: usize) -> Result<(), String> {
    out.push(b'{');
    for (at, (name, column)) in fields.column_names().iter().zip(fields.columns()).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        text(out, name);
        out.push(b':');
        write_cell(out, column.as_ref(), row)?;
    }
    out.push(b'}');
    Ok(())
}

/// Texts as keys make an object; other keys a list of pairs.
fn map(out: &mut Vec<u8>, entries: &StructArray) -> Result<(), String> {
    let (keys, values) = (entries.column(0), entries.column(1));
    let is_object = matches!(keys.data_type(), DataType::Utf8 | DataType::LargeUtf8);
    let [open, middle, close] = if is_object { *b"{:}" } else { *b"[,]" };
    out.push(open);
    for row in 0..entries.len() {
        if row > 0 {
            out.push(b',');
        }
        if !is_object {
            out.push(b'[');
        }
        write_cell(out, keys.as_ref(), row)?;
        out.push(middle);
        write_cell(out, values.as_ref(), row)?;
        if !is_object {
            out.push(b']');
        }
    }
    out.push(close);
    Ok(())
}

fn key_of(keys: &dyn Array, row: usize) -> Option<usize> {
    use DataType::*;
    match keys.data_type() {
        Int8 => usize::try_from(keys.as_primitive::<Int8Type>().value(row)).ok(),
        Int16 => usize::try_from(keys.as_primitive::<Int16Type>().value(row)).ok(),
        Int32 => usize::try_from(keys.as_primitive::<Int32Type>().value(row)).ok(),
        Int64 => usize::try_from(keys.as_primitive::<Int64Type>().value(row)).ok(),
        UInt8 => Some(keys.as_primitive::<UInt8Type>().value(row).into()),
        UInt16 => Some(keys.as_primitive::<UInt16Type>().value(row).into()),
        UInt32 => usize::try_from(keys.as_primitive::<UInt32Type>().value(row)).ok(),
        UInt64 => usize::try_from(keys.as_primitive::<UInt64Type>().value(row)).ok(),
        _ => None,
    }
}
