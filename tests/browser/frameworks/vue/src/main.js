import { define } from '@balance-coordinator/client/element';
import { createApp } from 'vue';
import App from './App.vue';

define();
createApp(App).mount('#root');
