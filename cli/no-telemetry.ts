/** Imported before all else: ONNX Runtime reads this when it is loaded, here and in the processes that are started. */
process.env.ORT_DISABLE_TELEMETRY ??= '1';
