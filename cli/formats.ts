/** What a model is exported as. */
export const FORMATS = ['peft', 'safetensors', 'onnx', 'gguf', 'gguf-f32'] as const;
export type Format = (typeof FORMATS)[number];
