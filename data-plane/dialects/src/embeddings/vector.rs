//! Vectors as numbers and as base64, each from the other, exactly.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use gateway_ir::embeddings::{Encoding, Vector};
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use crate::reading::{elements, garbage, text};
use crate::refused;
use crate::writer::Object;

/// A vector as an upstream writes it, in either form.
pub(super) fn read(raw: &RawValue) -> Result<Vector, Box<Failure>> {
    match raw.get().as_bytes().first() {
        Some(b'[') => Ok(Vector::Numbers(raw.to_owned())),
        Some(b'"') => Ok(Vector::Base64(text(raw).unwrap_or_default().into_owned())),
        _ => Err(garbage("the upstream's vector is neither an array nor a string")),
    }
}

/// The failure for an answer without vectors; an error that begins with status 200 is told in its own words.
pub(super) fn missing_in(body: &[u8]) -> Box<Failure> {
    refused::inside(body).unwrap_or_else(|| garbage("the upstream's answer holds no vectors"))
}

/// Writes a vector as the client wants it. What is in that form already is written as the upstream wrote it, digit by digit.
pub(super) fn write(
    name: &str,
    vector: &Vector,
    encoding: Encoding,
    object: &mut Object<'_>,
) -> Result<(), Box<Failure>> {
    match (vector, encoding) {
        (Vector::Numbers(numbers), Encoding::Float) => object.raw(name, numbers.get()),
        (Vector::Base64(text), Encoding::Base64) => object.string(name, text),
        (Vector::Numbers(numbers), Encoding::Base64) => object.string(name, &base64(numbers)?),
        (Vector::Base64(text), Encoding::Float) => object.raw(name, &numbers(text)?),
    }
    Ok(())
}

/// Each number is rounded once, from its decimal digits to the nearest float.
fn base64(numbers: &RawValue) -> Result<String, Box<Failure>> {
    // Most vectors are written with ten letters a number or more.
    let mut bytes = BytesMut::with_capacity(numbers.get().len() / 2);
    let mut all_numbers = true;
    elements(numbers, |number| match number.get().parse::<f32>() {
        Ok(float) if float.is_finite() => bytes.extend_from_slice(&float.to_le_bytes()),
        _ => all_numbers = false,
    });
    if !all_numbers {
        return Err(garbage("the upstream's vector is not an array of numbers"));
    }
    Ok(STANDARD.encode(&bytes))
}

/// Each float by the fewest digits that read back as itself.
fn numbers(text: &str) -> Result<String, Box<Failure>> {
    let bytes = STANDARD.decode(text).map_err(|_| garbage("the upstream's vector is not base64"))?;
    let (words, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(garbage("the upstream's vector is not made of 32-bit floats"));
    }
    let floats: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    if !floats.iter().all(|float| float.is_finite()) {
        return Err(garbage("the upstream's vector has a number that JSON cannot say"));
    }
    serde_json::to_string(&floats).map_err(|_| garbage("the upstream's vector cannot be written as JSON"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).expect("JSON")
    }

    #[test]
    fn examples() {
        assert_eq!(base64(&raw("[]")).expect("numbers"), "");
        assert_eq!(base64(&raw("[1, -2.5,0.1]")).expect("numbers"), "AACAPwAAIMDNzMw9");
        assert_eq!(numbers("AACAPwAAIMDNzMw9").expect("floats"), "[1.0,-2.5,0.1]");
        for (told, text) in [("not base64", "*"), ("32-bit", "AACA"), ("JSON cannot say", "AADAfw==")] {
            let failure = numbers(text).expect_err(text);
            assert!(failure.message.contains(told), "{text}: {}", failure.message);
        }
        assert!(base64(&raw(r#"["a"]"#)).is_err());
    }

    proptest! {
        /// There and back again gives the same bits, whatever the numbers.
        #[test]
        fn floats_survive_both_ways(bits in proptest::collection::vec(any::<u32>(), 0..64)) {
            let floats: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|float| float.is_finite()).collect();
            let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
            let text = STANDARD.encode(&bytes);
            prop_assert_eq!(base64(&raw(&numbers(&text).expect("floats"))).expect("numbers"), text);
        }
    }
}
