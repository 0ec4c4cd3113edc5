//! A span for each request, for a collector of OpenTelemetry. In the feature `otlp` alone.
//!
//! It is made from the record of the request, off the request's way, and continues the trace that the client's
//! `traceparent` names. The collector, its headers and the rest are named by the standard variables, of which
//! `OTEL_EXPORTER_OTLP_ENDPOINT` turns it on. No key and no value is in a span.

use crate::audit::Record;

/// The variable that names the collector.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Begins, where a collector is named. Before the runtime: the exporter has threads of its own.
pub fn begin() {
    if std::env::var_os(ENDPOINT).is_some_and(|named| !named.is_empty()) {
        exporter::begin();
    }
}

/// Sends a span.
pub fn send(record: &Record) {
    exporter::send(record);
}

/// Sends what is left.
pub fn end() {
    exporter::end();
}

#[cfg(not(feature = "otlp"))]
mod exporter {
    use crate::audit::Record;
    use crate::metrics::traces::ENDPOINT;

    pub fn begin() {
        tracing::warn!(
            "{ENDPOINT} is set, and this program was built without the feature otlp: no spans are sent"
        );
    }

    pub fn send(_: &Record) {}

    pub fn end() {}
}

#[cfg(feature = "otlp")]
mod exporter {
    use std::collections::HashMap;
    use std::sync::OnceLock;
    use std::time::SystemTime;

    use opentelemetry::propagation::TextMapPropagator as _;
    use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _};
    use opentelemetry::{Context, KeyValue};
    use opentelemetry_otlp::SpanExporter;
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use crate::audit::Record;
    use crate::metrics::traces::ENDPOINT;

    static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

    pub fn begin() {
        match SpanExporter::builder().with_http().build() {
            Ok(exporter) => {
                let resource = Resource::builder().with_service_name("secretbridge").build();
                let provider = SdkTracerProvider::builder()
                    .with_batch_exporter(exporter)
                    .with_resource(resource)
                    .build();
                let _ = PROVIDER.set(provider);
            }
            Err(error) => tracing::warn!("no spans are sent to what {ENDPOINT} names: {error}"),
        }
    }

    pub fn send(record: &Record) {
        let Some(provider) = PROVIDER.get() else { return };
        let end = SystemTime::now();
        let start = end.checked_sub(record.received.elapsed()).unwrap_or(end);
        let parent = record.trace.iter().map(|trace| ("traceparent".to_owned(), trace.clone()));
        let parent = TraceContextPropagator::new()
            .extract_with_context(&Context::new(), &parent.collect::<HashMap<_, _>>());
        let attributes = [
            KeyValue::new("http.request.method", record.method.to_string()),
            KeyValue::new("http.route", record.route.to_string()),
            KeyValue::new("http.response.status_code", i64::from(record.status)),
            KeyValue::new("secretbridge.outcome", record.outcome),
            KeyValue::new("secretbridge.caller", record.who.to_string()),
        ];
        let vaults = record
            .accesses
            .first()
            .map(|access| KeyValue::new("secretbridge.vault", access.vault.to_string()));
        let tracer = provider.tracer("secretbridge");
        let builder = tracer
            .span_builder(format!("{} {}", record.method, record.route))
            .with_kind(SpanKind::Server)
            .with_start_time(start)
            .with_attributes(attributes.into_iter().chain(vaults));
        let mut span = tracer.build_with_context(builder, &parent);
        if record.status >= 500 {
            span.set_status(Status::error(record.outcome));
        }
        span.end_with_timestamp(start.checked_add(record.latency).unwrap_or(end));
    }

    pub fn end() {
        if let Some(provider) = PROVIDER.get() {
            let _ = provider.shutdown();
        }
    }
}
