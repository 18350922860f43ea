/** Everything a plugin needs: the contracts, {@link definePlugin}, and what block-wise codecs share. A plugin imports pgark through this module only. */
export * from 'pgark/contracts';
export { abortable } from './abortable.ts';
export { AskedOnce } from './asked-once.ts';
export { mapBlocks, type BlockOptions } from './blocks.ts';
export { ByteReader } from './byte-reader.ts';
export { definePlugin } from './define-plugin.ts';
export { faultOfDeliveryUrl } from './delivery-url.ts';
export { HttpDelivery, type DeliveryAnswer, type DeliveryRequest, type HttpDeliveryOptions } from './http-delivery.ts';
export { oneLine } from './one-line.ts';
export { originLine } from './origin-line.ts';
export { mapOrdered, type OrderedOptions } from './ordered.ts';
export { putStep } from './put-step.ts';
export { checkedBody } from './storage-body.ts';
export { checkKey, compareKeys } from './storage-key.ts';
export { resolveRange } from './storage-range.ts';
export { throughStream, type ThroughOptions } from './through-stream.ts';
