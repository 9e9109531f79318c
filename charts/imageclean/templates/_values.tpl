{{- /* Made by make generate of what kubectl imageclean install applies, pkg/manifests. Not to be edited. */}}

{{- /* What the templates take: as install makes it of the defaults, with what the chart's values say. */}}
{{- define "imageclean.values" -}}
{{- $deploy := .Values.deploy -}}
{{- $values := fromJson `{"Namespace":"","SystemNamespace":"kube-system","Name":"eraser-controller-manager","Image":"/imageclean-controller:dev","StateName":"imageclean-state","SystemExclusionName":"eraser-system-exclusion","LeaseName":"imageclean-controller","NetworkPolicyName":"imageclean-node-pods","TypeLabel":"eraser.sh/type","Labels":{"app.kubernetes.io/managed-by":"kubectl-imageclean","app.kubernetes.io/name":"imageclean","app.kubernetes.io/version":"dev"},"AppLabels":{"app.kubernetes.io/name":"imageclean"},"DeploymentLabels":{"app.kubernetes.io/component":"controller","app.kubernetes.io/managed-by":"kubectl-imageclean","app.kubernetes.io/name":"imageclean","app.kubernetes.io/version":"dev"},"Selector":{"app.kubernetes.io/component":"controller","app.kubernetes.io/name":"imageclean","control-plane":"controller-manager"},"PodLabels":{"app.kubernetes.io/component":"controller","app.kubernetes.io/name":"imageclean","app.kubernetes.io/version":"dev","control-plane":"controller-manager"},"NodeSelector":{"kubernetes.io/os":"linux"},"ImagePullSecret":"","PriorityClassName":"","Tolerations":null,"Resources":{"limits":{"cpu":"2","memory":"512Mi"},"requests":{"cpu":"50m","memory":"128Mi"}},"Affinity":null}` -}}
{{- $_ := set $values "Namespace" .Release.Namespace -}}
{{- $_ := set $values "Image" (printf "%s%s" ($deploy.image.registry | default "ghcr.io/imageclean") $values.Image) -}}
{{- $_ := set $values "NodeSelector" (merge (dict) ($deploy.nodeSelector | default dict) $values.NodeSelector) -}}
{{- $_ := set $values "PodLabels" (merge (dict) $values.PodLabels ($deploy.additionalPodLabels | default dict)) -}}
{{- $_ := set $values "ImagePullSecret" $deploy.image.pullSecret -}}
{{- $_ := set $values "PriorityClassName" $deploy.priorityClassName -}}
{{- $_ := set $values "Tolerations" $deploy.tolerations -}}
{{- $_ := set $values "Resources" $deploy.resources -}}
{{- $_ := set $values "Affinity" $deploy.affinity -}}
{{- $values | toJson -}}
{{- end }}

{{- /* The settings, as install writes them: how the controller runs itself is in them as well. */}}
{{- define "imageclean.settings" -}}
{{- $deploy := .Values.deploy -}}
{{- $controller := dict -}}
{{- range $setting, $value := dict "registry" $deploy.image.registry "imagePullSecret" $deploy.image.pullSecret "nodeSelector" $deploy.nodeSelector "tolerations" $deploy.tolerations "priorityClassName" $deploy.priorityClassName -}}
{{- with $value -}}{{- $_ := set $controller $setting . -}}{{- end -}}
{{- end -}}
{{- $settings := merge (dict "apiVersion" "imageclean.sh/v1alpha1" "kind" "Settings" "controller" $controller) .Values.runtimeConfig -}}
{{- if not $settings.schedule -}}{{- $_ := set $settings "schedule" (dict "interval" "1w") -}}{{- end -}}
{{- $settings | toYaml -}}
{{- end }}
