//! Everything that decodes `anthropic-messages`.
#![no_main]

use gateway_ir::dialect::Dialect;

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway_fuzz::dialect(Dialect::AnthropicMessages, input));
