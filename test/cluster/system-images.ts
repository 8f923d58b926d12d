/** The images that a cluster itself needs, of programs built or fetched by pinned version. */
import { tool } from '../tools/tool.ts';
import { DNS_IMAGE } from './dns.ts';
import { cached, imageOf } from './image.ts';
import { PAUSE_IMAGE } from './node-files.ts';

const fileOf = (image: string) => `${image.replaceAll(/[/:]/g, '-')}.tar`;

export async function systemImages(): Promise<string[]> {
  const pause = await tool('pause');
  const coredns = await tool('coredns');
  return [
    await cached(fileOf(PAUSE_IMAGE), (path) =>
      imageOf(path, PAUSE_IMAGE, { pause }, { Entrypoint: ['/pause'], User: '65535:65535' }),
    ),
    await cached(fileOf(DNS_IMAGE), (path) =>
      imageOf(path, DNS_IMAGE, { coredns }, { Entrypoint: ['/coredns'], User: '65532:65532' }),
    ),
  ];
}
