//! The response to a request whose answer was there.

use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use http::Response;
use http::header::{CACHE_CONTROL, HeaderValue};

use super::{Asked, finished, folded};
use crate::body::ReplyBody;
use crate::cache::{Form, Hit};
use crate::headers::Writer;
use crate::pipeline::Head;
use crate::record::Record;
use crate::state::Config;
use crate::{ingress, refusal};

/// What the pipeline hands over.
pub(crate) struct Again {
    pub(crate) hit: Hit,
    pub(crate) asked: Asked,
}

/// As it was told before, or out of that in the form that is asked for now.
pub(crate) fn again(
    config: &Config,
    dialect: Dialect,
    head: &Head,
    again: Again,
    mut record: Record,
) -> Response<ReplyBody> {
    let Again { hit, asked } = again;
    let Asked { stream, include_usage, .. } = asked;
    let form = if stream { Form::Stream { form: head.form, include_usage } } else { Form::Json };
    let entry = &hit.entry;
    let inbound = ingress::spoken(dialect);
    let anew = || Some(folded(inbound, &entry.reply(inbound)?, &asked.context(head), stream.then_some(head.form)));
    let Some(bytes) = entry.in_form(form).or_else(anew) else {
        let failure =
            Failure::new(Code::Internal, "a reply that was kept cannot be read; please send the request again");
        record.failed(&failure);
        record.status(failure.status);
        return refusal::response(&failure, dialect, &head.id, config.families());
    };
    record.status(200);
    let mut response = asked.begun(head, config, (&entry.provider, &entry.model));
    if stream {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    let mut writer = Writer::new(response.headers_mut(), config.families());
    writer.retries(0);
    writer.dropped(&entry.dropped);
    writer.cache(true);
    writer.recalled(hit.age_ms, entry.cost);
    writer.cost(0);
    if let Some(usage) = &entry.usage {
        writer.tokens(usage.prompt(), usage.output);
    }
    record.forwarded(bytes.len(), bytes.len() as u64);
    finished(response, config, bytes, stream.then_some(head.form), record).0
}
