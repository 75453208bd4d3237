// What a dashboard's file has to be: Grafana's published types, narrowed to the kinds of panels that we draw.
// A file is written out as a literal of type `Page`, so that a misspelt or unknown field is an error too.

import type { DataQuery, Dashboard, GraphFieldConfig, Panel, RowPanel } from '@grafana/schema';
import type { Options as BarGauge } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type { Options as Stat } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as TimeSeries } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON has no enums: where the schema has one, a file holds its value.
type Plain<T> = T extends string
  ? `${T}`
  : T extends (infer Item)[]
    ? Plain<Item>[]
    : T extends object
      ? { [Key in keyof T]: Plain<T[Key]> }
      : T;

// What the Prometheus data source reads of a query, beside what every data source does.
interface PrometheusQuery extends DataQuery {
  expr: string;
  legendFormat: string;
  editorMode: 'code';
  range: boolean;
  instant: boolean;
}

type Always = 'id' | 'title' | 'description' | 'datasource' | 'gridPos';
type Field = NonNullable<Panel['fieldConfig']>['defaults'];

type Drawn<Type extends string, Options, Custom = never> = Required<Pick<Panel, Always>> & {
  type: Type;
  options: Options;
  fieldConfig: {
    defaults: Omit<Field, 'custom' | 'unit'> & { unit: string; custom?: Custom };
    overrides: [];
  };
  targets: PrometheusQuery[];
};

type Row = Required<Pick<RowPanel, 'id' | 'title' | 'gridPos'>> & { type: 'row'; collapsed: false; panels: [] };

type Placed = Row | Drawn<'stat', Stat> | Drawn<'bargauge', BarGauge> | Drawn<'timeseries', TimeSeries, GraphFieldConfig>;

export type Page = Plain<Required<Pick<Dashboard, 'uid' | 'title' | 'description' | 'schemaVersion'>>> &
  Plain<Omit<Dashboard, 'panels'>> & { panels: Plain<Placed>[] };
