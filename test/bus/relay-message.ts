/** What a test and its relay tell each other. */
export type RelayMessage = { readonly plane: 'relay' } & (
  | { readonly type: 'ready' }
  | { readonly type: 'closed' }
  | { readonly type: 'close' }
  | { readonly type: 'send'; readonly to: string; readonly data: Uint8Array }
  | { readonly type: 'broadcast'; readonly data: Uint8Array }
  | { readonly type: 'message'; readonly from: string; readonly data: Uint8Array }
);
